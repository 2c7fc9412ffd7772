//! Replays the fuzz corpus of tokens, so that what the fuzzer found once is checked in every test
//! run. `scripts/fuzz` searches for more.
#![allow(clippy::unwrap_used)]

#[path = "../src/auth/jws.rs"]
#[allow(dead_code)]
mod jws;

#[path = "../../fuzz/checks/tokens.rs"]
mod tokens;

#[test]
fn the_corpus_of_tokens() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/tokens");
    let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
    assert!(inputs.len() > 20, "the corpus is there");
    for input in inputs {
        tokens::check(&std::fs::read(input.unwrap().path()).unwrap());
    }
}
