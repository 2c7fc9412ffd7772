//! Replays the fuzz corpus, so that what the fuzzer found once is checked in every test run.
//! `scripts/fuzz` searches for more.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/checks/frames.rs"]
mod frames;

#[test]
fn the_corpus_of_frames() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/frames");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(inputs.len() > 50, "the corpus is there");
    for input in inputs {
        frames::check(&std::fs::read(input.unwrap().path()).unwrap());
    }
}
