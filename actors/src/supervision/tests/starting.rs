//! Starts that take their time, and starts that never end.

use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_has_failed_after_its_time() {
    let (journal, handle) = (Journal::default(), Handle::new());
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    let child = kit::starting("a", &handle, &journal, |_| Start::Hangs);
    let began = Instant::now();
    let refused = supervisor.add(child.start_within(3 * SECOND)).await;
    assert_eq!(refused.unwrap_err().detail, "it took too long");
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(supervisor.stop().await, Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_may_take_as_long_to_start_as_its_children_together() {
    let (journal, a, b) = (Journal::default(), Handle::new(), Handle::new());
    let slow = |_| Start::Takes(25 * SECOND);
    let inner = SupervisorSpec::new("inner")
        .child(kit::starting("a", &a, &journal, slow))
        .child(kit::starting("b", &b, &journal, slow));
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    let added = supervisor.add(ChildSpec::supervisor(inner)).await;
    assert_eq!(added, Ok(()));
    journal.reads("+a +b").await;
}

/// What it had brought up has ended before anything is brought up again, so that nothing is there
/// twice.
#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_come_up_in_time_is_gone_before_the_next_one() {
    let (journal, a, b) = (Journal::default(), Handle::new(), Handle::new());
    let inner = SupervisorSpec::new("inner")
        .intensity(Intensity {
            restarts: 0,
            within: 60 * SECOND,
        })
        .child(actor("a", &a, &journal))
        .child(kit::starting("b", &b, &journal, all_but(1, Start::Hangs)));
    let inner = ChildSpec::supervisor(inner).start_within(5 * SECOND);
    let supervisor = Supervisor::start(SupervisorSpec::new("root").child(inner));
    journal.reads("+a +b").await;
    a.cast(Say::Panic).unwrap();
    journal.reads("+a +b -b +a").await;
    assert_eq!(a.call(Say::ask).await, Ok("a"));
    journal.reads("+a +b -b +a -a +a +b").await;
    assert_eq!(b.call(Say::ask).await, Ok("b"));
    assert_eq!(supervisor.stop().await, Ending::Stopped);
    journal.reads("+a +b -b +a -a +a +b -b -a").await;
}

/// Nor does one beneath another supervisor.
#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_keeps_nobody_from_stopping() {
    let (journal, a, b) = (Journal::default(), Handle::new(), Handle::new());
    let inner = SupervisorSpec::new("inner")
        .child(actor("a", &a, &journal))
        .child(kit::starting("b", &b, &journal, |_| Start::Hangs));
    let supervisor = Supervisor::start(SupervisorSpec::new("root"));
    supervisor.launch(ChildSpec::supervisor(inner));
    journal.reads("+a").await;
    let began = Instant::now();
    assert_eq!(supervisor.stop().await, Ending::Stopped);
    assert!(began.elapsed() < SECOND);
    journal.reads("+a -a").await;
}
