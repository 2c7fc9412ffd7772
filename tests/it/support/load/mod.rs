//! A load whose every event is written down: people with devices that send (in threads, for good,
//! until everybody has it, or for whoever is there), edit, react, pin, delete, mark as read and
//! unread, come and go, are erased, and reconnect at any moment, against servers that a test is cruel to meanwhile.
//! What they saw is then compared with the log.

mod chatter;
mod dump;
mod erasing;
mod ideas;
mod identity;
mod listener;
mod members;
mod recorder;
mod rng;
mod wire;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quikapp_history::{Counts, Event, Verdict};
use quikapp_realtime::errors::Reason;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use self::{
    chatter::{Chatter, Way},
    erasing::Erasing,
    ideas::Rights,
    listener::Listener,
    recorder::Recorder,
    rng::Rng,
};
use super::{Guest, PASSWORD, Rest, Server};

/// Acknowledgements for which there is one deadline: few, because where everything is late (200 ms
/// an answer, a dozen answers for each batch) they come every two or three seconds.
const STEP: usize = 10;
/// The first people may pin.
const PINNING: usize = 2;
/// Entries that stand in each log before the load begins: all but the owner were made
/// administrators.
const BEFORE: u64 = PINNING as u64 - 1;

/// What kind of load.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) title: &'static str,
    /// People who send, each with a device. The first owns all conversations, the second is an
    /// administrator; the last comes and goes, and the one before may be erased.
    pub(crate) chatters: usize,
    /// So many of them, from the last on, have another device that follows everything at once.
    pub(crate) listeners: usize,
    pub(crate) conversations: usize,
    /// Attempts of one device that wait for an answer at the same time.
    pub(crate) window: usize,
    /// Frames after which a device drops its connection.
    pub(crate) lifetime: (u64, u64),
    /// After a removal, for how long something may still reach the person.
    pub(crate) bound: Duration,
    /// A connection that owes an answer and says nothing for so long is dropped.
    pub(crate) patience: Duration,
    /// How long devices may take to get everything once the load has ended.
    pub(crate) settling: Duration,
}

impl Plan {
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            chatters: 5,
            listeners: 2,
            conversations: 2,
            window: 3,
            lifetime: (40, 400),
            bound: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            settling: Duration::from_secs(30),
        }
    }
}

/// What everybody is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Go on.
    Load,
    /// Begin nothing new; finish what is in doubt.
    Quiet,
    /// Nobody writes any more. The logs end here: get everything.
    CatchUp(Arc<BTreeMap<String, u64>>),
}

/// What all tasks of a load share.
struct Shared {
    plan: Plan,
    recorder: Recorder,
    servers: watch::Sender<Vec<String>>,
    phase: watch::Sender<Phase>,
    /// How many tasks follow; how many have finished what was in doubt.
    ready: watch::Sender<usize>,
    quiet: watch::Sender<usize>,
    /// How often somebody was removed and came back.
    returns: watch::Sender<u64>,
    /// Who is being erased, or was.
    erasing: watch::Sender<Option<String>>,
    conversations: Vec<String>,
    catch_up_began: watch::Sender<Option<Instant>>,
}

impl Shared {
    /// One of the servers.
    fn server(&self, rng: &mut Rng) -> String {
        let servers = self.servers.borrow();
        servers[rng.below(servers.len() as u64) as usize].clone()
    }

    fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Where the logs ended when devices began to get everything.
    fn tails(&self) -> Arc<BTreeMap<String, u64>> {
        match self.phase() {
            Phase::CatchUp(tails) => tails,
            Phase::Load | Phase::Quiet => Arc::default(),
        }
    }

    /// One task less from which something may come; said once by each.
    fn is_quiet(&self, has_said: &mut bool) {
        if !std::mem::replace(has_said, true) {
            self.quiet.send_modify(|count| *count += 1);
        }
    }

    fn is_being_erased(&self, person: &Guest) -> bool {
        self.erasing.borrow().as_ref() == Some(&person.id)
    }

    /// Devices have had all the time there is.
    fn is_late(&self) -> bool {
        let began = *self.catch_up_began.borrow();
        began.is_some_and(|began| began.elapsed() >= self.plan.settling)
    }
}

/// A load that is under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    people: Vec<Guest>,
    tasks: JoinSet<()>,
    file: PathBuf,
    seed: u64,
}

impl Load {
    /// Signs people in, makes their conversations and starts them; returns when everybody follows.
    pub(crate) async fn start(plan: Plan, dir: &Path, servers: &[&Server]) -> Self {
        let seed = rng::seed();
        println!("{}: seed {seed}", plan.title);
        let rest = Rest::of(servers[0]);
        let mut people = Vec::new();
        for number in 0..plan.chatters {
            people.push(rest.guest(&format!("person {number}")).await);
        }
        let mut conversations = Vec::new();
        for _ in 0..plan.conversations {
            let conversation = rest.group(&people).await;
            for person in &people[1..PINNING] {
                rest.is_admin(&conversation, person, &people[0]).await;
            }
            conversations.push(conversation);
        }
        let file = dir.join("history.jsonl");
        let recorder = Recorder::create(&file);
        recorder.record(|_| Event::Run {
            title: plan.title.to_owned(),
            seed,
            bound_ms: u64::try_from(plan.bound.as_millis()).unwrap(),
        });
        for conversation in &conversations {
            recorder.record(|_| Event::Conversation {
                conversation: conversation.clone(),
                members: people.iter().map(|person| person.id.clone()).collect(),
            });
        }
        let urls: Vec<_> = servers.iter().map(|server| server.url.clone()).collect();
        let shared = Arc::new(Shared {
            plan,
            recorder,
            servers: watch::Sender::new(urls),
            phase: watch::Sender::new(Phase::Load),
            ready: watch::Sender::new(0),
            quiet: watch::Sender::new(0),
            returns: watch::Sender::new(0),
            erasing: watch::Sender::new(None),
            conversations,
            catch_up_began: watch::Sender::new(None),
        });
        let mut load = Self {
            shared,
            people,
            tasks: JoinSet::new(),
            file,
            seed,
        };
        load.start_everybody().await;
        load
    }

    async fn start_everybody(&mut self) {
        let shared = &self.shared;
        let (everywhere, first) = (&shared.conversations, &shared.conversations[..1]);
        let last = self.people.len() - 1;
        let (mut chatters, mut devices) = (Vec::new(), 0);
        for (number, person) in self.people.iter().enumerate() {
            let mut seed = || {
                devices += 1;
                Rng::of(self.seed.wrapping_add(devices))
            };
            let way = [Way::LastSeq, Way::Cursor][number % 2];
            // Who comes and goes in the first conversation follows only that.
            let which: &[String] = if number == last { first } else { everywhere };
            let rights = Rights {
                pins: (number < PINNING).then_some((number, PINNING)),
                answers: number != last,
            };
            chatters.push(Chatter::new(
                shared,
                person,
                number,
                way,
                which,
                rights,
                seed(),
            ));
            if number + shared.plan.listeners > last {
                let listener = Listener::new(shared, person, number, seed());
                self.tasks.spawn(listener.run());
            }
        }
        // A listener follows from its first join on, so that nothing may be said before.
        reaches(&shared.ready, self.tasks.len(), "who listens follows").await;
        for chatter in chatters {
            self.tasks.spawn(chatter.run());
        }
        let everybody = self.tasks.len();
        reaches(&shared.ready, everybody, "everybody follows").await;
        let (owner, guest) = (self.people[0].clone(), self.people[last].clone());
        let rng = Rng::of(self.seed);
        self.tasks
            .spawn(members::come_and_go(shared.clone(), owner, guest, rng));
    }

    /// Waits until so many more attempts were acknowledged.
    pub(crate) async fn acknowledges(&self, more: u64) {
        let counted = &self.shared.recorder.acknowledged;
        let enough = *counted.borrow() + more;
        // In steps, so that a load that stands still is noticed however much was asked for.
        let steps = (*counted.borrow()..enough).step_by(STEP).skip(1);
        for so_far in steps.chain([enough]) {
            reaches(counted, so_far, "enough is acknowledged").await;
        }
    }

    /// Waits until so many more attempts were refused.
    pub(crate) async fn is_refused(&self, more: u64) {
        let counted = &self.shared.recorder.refused;
        let enough = *counted.borrow() + more;
        reaches(counted, enough, "enough is refused").await;
    }

    /// The same, and none of them is later than `pause` after the one before.
    pub(crate) async fn goes_on(&self, more: u64, pause: Duration) {
        let mut counted = self.shared.recorder.acknowledged.subscribe();
        let enough = *counted.borrow_and_update() + more;
        while *counted.borrow_and_update() < enough {
            let next = tokio::time::timeout(pause, counted.changed()).await;
            assert!(next.is_ok(), "nothing was acknowledged for {pause:?}");
        }
    }

    /// Everybody was answered, and whoever was refused may try again; but what no store decides
    /// is refused for good.
    pub(crate) fn is_told_to_try_again(&self) {
        let told = self.shared.recorder.told();
        println!("refusals: {told:?}");
        let of_the_load = [
            Reason::NotAParticipant,
            Reason::MessageNotFound,
            Reason::UnmatchedTopic,
        ];
        let may_be_told = |text: &str| {
            let mut reasons = Reason::ALL.iter();
            let reason = reasons.find(|reason| reason.as_str() == text);
            let is_crash = |reason| {
                use Reason::{ChannelCrash, Internal, JoinCrashed};
                matches!(reason, ChannelCrash | Internal | JoinCrashed)
            };
            reason.is_some_and(|reason| {
                of_the_load.contains(reason) || (reason.retryable() && !is_crash(*reason))
            })
        };
        let wrong: Vec<_> = told.keys().filter(|text| !may_be_told(text)).collect();
        assert!(wrong.is_empty(), "clients were told {wrong:?}");
    }

    /// Waits until somebody is told that the store takes no writes.
    pub(crate) async fn is_unavailable(&self) {
        let reason = Reason::Unavailable.as_str();
        let told = || self.shared.recorder.told().get(reason).copied();
        let before = told();
        let refused = async {
            while told() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(60), refused).await;
        refused.expect("a write is refused in time");
    }

    /// Waits until somebody was removed and came back.
    pub(crate) async fn comes_back(&self) {
        let enough = *self.shared.returns.borrow() + 1;
        reaches(&self.shared.returns, enough, "somebody comes back").await;
    }

    /// Asks that somebody be erased, until it is acknowledged. It will have been done when the load
    /// ends.
    pub(crate) async fn erases_somebody(&mut self, server: &Server) {
        let somebody = self.people[self.people.len() - 2].clone();
        let erasing = Erasing::begin(self.shared.clone(), server, &somebody).await;
        self.tasks.spawn(erasing.ends());
    }

    /// A random number below another.
    pub(crate) fn random(&self, below: u64) -> u64 {
        let so_far = *self.shared.recorder.acknowledged.borrow();
        Rng::of(self.seed ^ so_far.rotate_left(32)).below(below)
    }

    /// Writes down what is done to the servers.
    pub(crate) fn fault(&self, what: &str) {
        let acknowledged = *self.shared.recorder.acknowledged.borrow();
        self.shared.recorder.record(|at| {
            println!("{at} ms, {acknowledged} acknowledged: {what}");
            Event::Fault {
                at,
                what: what.to_owned(),
            }
        });
    }

    /// The servers are elsewhere now.
    pub(crate) fn servers_are(&self, servers: &[&Server]) {
        let urls = servers.iter().map(|server| server.url.clone()).collect();
        self.shared.servers.send_replace(urls);
    }

    /// Ends the load, lets everybody get everything, and judges the history.
    pub(crate) async fn finish(&mut self, server: &Server) -> Verdict {
        let shared = &self.shared;
        shared.phase.send_replace(Phase::Quiet);
        reaches(&shared.quiet, self.tasks.len(), "nothing is in doubt").await;
        let store = dump::open(&server.storage).await;
        let tails = dump::tails(&store, &shared.conversations).await;
        shared.catch_up_began.send_replace(Some(Instant::now()));
        shared.phase.send_replace(Phase::CatchUp(Arc::new(tails)));
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let people = self.people.iter().filter(|it| !shared.is_being_erased(it));
        let people: Vec<Guest> = people.cloned().collect();
        let told = dump::everything(server, &store, &shared.conversations, &people).await;
        store.close().await;
        for event in told {
            shared.recorder.record(|_| event);
        }
        shared.recorder.flush();
        let history = std::fs::File::open(&self.file).unwrap();
        let verdict = quikapp_history::check(std::io::BufReader::new(history)).unwrap();
        println!("{verdict}");
        verdict
    }

    /// The same, and every promise was kept; how much there was.
    pub(crate) async fn passes(mut self, server: &Server) -> Counts {
        let verdict = self.finish(server).await;
        if !verdict.passed() {
            let name = format!("history-{}-{}.jsonl", self.shared.plan.title, self.seed);
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace(' ', "-"));
            std::fs::copy(&self.file, &kept).unwrap();
            println!("the history is kept: {}", kept.display());
        }
        assert!(verdict.passed(), "promises were broken, see above");
        assert!(!server.log().contains(PASSWORD), "a password is logged");
        assert!(verdict.counts.messages > 0 && verdict.counts.deliveries > 0);
        verdict.counts
    }
}

async fn reaches<T: PartialOrd>(counter: &watch::Sender<T>, enough: T, what: &str) {
    let mut counter = counter.subscribe();
    let waited = counter.wait_for(|count| *count >= enough);
    let waited = tokio::time::timeout(Duration::from_secs(90), waited).await;
    let waited = waited.map(drop);
    assert!(waited.is_ok(), "it did not happen in time that {what}");
}
