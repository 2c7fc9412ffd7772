//! The floor: one thread, epoll, and a send per delivery; what was sent while several messages
//! were read goes out together.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};

use quikapp_broadcasters::{
    CLOSE, PING, PONG, TEXT, UPGRADE, listen, read_frame, request, write_frame,
};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// What may wait for a client; more, and it is cut.
const LARGEST_BACKLOG: usize = 4 << 20;

const LISTENER: u64 = u64::MAX;

struct Client {
    stream: TcpStream,
    room: Option<String>,
    input: Vec<u8>,
    output: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let listener = listen()?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut rooms: HashMap<String, Vec<u64>> = HashMap::new();
    let (mut next, mut events) = (0, Vec::with_capacity(1024));
    let mut dirty = Vec::new();
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags =
                        EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    epoll::add(&poll, &stream, EventData::new_u64(next), flags)?;
                    let client = Client {
                        stream,
                        room: None,
                        input: Vec::new(),
                        output: Vec::new(),
                    };
                    clients.insert(next, client);
                    next += 1;
                }
                continue;
            }
            if !serve(number, &mut clients, &mut rooms, &mut dirty) {
                leave(number, &mut clients, &mut rooms);
            }
            dirty.push(number);
        }
        for number in dirty.drain(..) {
            let is_alive = clients.get_mut(&number).is_none_or(flush);
            if !is_alive {
                leave(number, &mut clients, &mut rooms);
            }
        }
    }
}

/// Reads what is there. False when the client is gone.
fn serve(
    number: u64,
    clients: &mut HashMap<u64, Client>,
    rooms: &mut HashMap<String, Vec<u64>>,
    dirty: &mut Vec<u64>,
) -> bool {
    let Some(client) = clients.get_mut(&number) else {
        return true;
    };
    let mut scratch = [0; 16 * 1024];
    loop {
        match client.stream.read(&mut scratch) {
            Ok(0) => return false,
            Ok(count) => client.input.extend_from_slice(&scratch[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
    }
    if client.room.is_none() {
        let Some((room, length)) = request(&client.input) else {
            return true;
        };
        client.input.drain(..length);
        client.output.extend_from_slice(UPGRADE);
        client.room = Some(room.clone());
        rooms.entry(room).or_default().push(number);
    }
    let mut said = Vec::new();
    while let Some((opcode, payload, length)) = read_frame(&client.input) {
        client.input.drain(..length);
        match opcode {
            TEXT => write_frame(TEXT, &payload, &mut said),
            PING => write_frame(PONG, &payload, &mut client.output),
            CLOSE => return false,
            _ => {}
        }
    }
    let members = client.room.as_ref().and_then(|room| rooms.get(room));
    for member in members.into_iter().flatten().filter(|_| !said.is_empty()) {
        if let Some(client) = clients.get_mut(member) {
            client.output.extend_from_slice(&said);
            dirty.push(*member);
        }
    }
    true
}

/// Writes what the socket takes. False when the client is gone, or too slow.
fn flush(client: &mut Client) -> bool {
    if client.output.is_empty() {
        return true;
    }
    match client.stream.write(&client.output) {
        Ok(count) => drop(client.output.drain(..count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return false,
    }
    if client.output.is_empty() {
        client.output.shrink_to(512);
    }
    client.output.len() <= LARGEST_BACKLOG
}

fn leave(number: u64, clients: &mut HashMap<u64, Client>, rooms: &mut HashMap<String, Vec<u64>>) {
    let room = clients.remove(&number).and_then(|client| client.room);
    if let Some(members) = room.and_then(|room| rooms.get_mut(&room)) {
        members.retain(|member| *member != number);
    }
}
