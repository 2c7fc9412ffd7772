//! What an asynchronous server costs without a protocol: a task and a bounded queue per socket,
//! fastwebsockets to read, frames encoded once and written together.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use fastwebsockets::{OpCode, Role, after_handshake_split};
use quikapp_broadcasters::{PONG, TEXT, UPGRADE, listen, request, write_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};

/// Frames that may wait for a client; more are dropped with the client.
const QUEUE: usize = 1024;

type Members = Vec<(u64, mpsc::Sender<Bytes>)>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listen()?)?;
    let rooms = Rooms::default();
    let mut number = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        number += 1;
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            // A client that breaks off is none of ours.
            let _ = serve(stream, number, &rooms).await;
        });
    }
}

async fn serve(mut stream: TcpStream, number: u64, rooms: &Rooms) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(512);
    let room = loop {
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "no request");
        if let Some((room, _)) = request(&head) {
            break room;
        }
    };
    stream.write_all(UPGRADE).await?;
    let (reading, writing) = stream.into_split();
    let (queue, frames) = mpsc::channel(QUEUE);
    enter(rooms, &room, number, queue.clone());
    let writer = tokio::spawn(write(writing, frames));
    let result = read(reading, rooms, &room, &queue).await;
    leave(rooms, &room, number);
    drop(queue);
    writer.await??;
    result
}

async fn read(
    reading: tokio::net::tcp::OwnedReadHalf,
    rooms: &Rooms,
    room: &str,
    queue: &mpsc::Sender<Bytes>,
) -> anyhow::Result<()> {
    let (mut reader, _) = after_handshake_split(reading, tokio::io::sink(), Role::Server);
    reader.set_auto_pong(false);
    loop {
        let frame = reader
            .read_frame(&mut |_| async { Ok::<(), Infallible>(()) })
            .await?;
        let mut encoded = Vec::with_capacity(frame.payload.len() + 10);
        match frame.opcode {
            OpCode::Text => {
                write_frame(TEXT, &frame.payload, &mut encoded);
                publish(rooms, room, &encoded.into());
            }
            OpCode::Ping => {
                write_frame(PONG, &frame.payload, &mut encoded);
                queue.try_send(encoded.into())?;
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

/// Writes all that is queued in one call.
async fn write(
    mut socket: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Bytes>,
) -> anyhow::Result<()> {
    let (mut batch, mut joined) = (Vec::new(), Vec::new());
    while frames.recv_many(&mut batch, QUEUE).await > 0 {
        if let [frame] = &batch[..] {
            socket.write_all(frame).await?;
        } else {
            joined.clear();
            batch
                .iter()
                .for_each(|frame| joined.extend_from_slice(frame));
            socket.write_all(&joined).await?;
        }
        batch.clear();
    }
    Ok(())
}

fn enter(rooms: &Rooms, room: &str, number: u64, queue: mpsc::Sender<Bytes>) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms
        .entry(room.to_owned())
        .or_default()
        .push((number, queue));
}

fn leave(rooms: &Rooms, room: &str, number: u64) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(members) = rooms.get_mut(room) {
        members.retain(|(member, _)| *member != number);
    }
}

/// Queues the frame for everybody; who has no room left is cut.
fn publish(rooms: &Rooms, room: &str, frame: &Bytes) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(members) = rooms.get_mut(room) {
        members.retain(|(_, queue)| queue.try_send(frame.clone()).is_ok());
    }
}
