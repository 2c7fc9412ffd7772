#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn negotiate(offer: &str) -> Option<String> {
    Deflate::negotiate([offer], CompressionPolicy::default()).map(|agreed| agreed.response())
}

#[test]
fn offers_and_answers() {
    let cases = [
        ("permessage-deflate", Some("permessage-deflate")),
        // What browsers send, and the answer that Phoenix gives.
        (
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate;client_max_window_bits=15"),
        ),
        (
            "permessage-deflate; client_max_window_bits=10",
            Some("permessage-deflate;client_max_window_bits=10"),
        ),
        (
            "permessage-deflate;client_max_window_bits=\"12\"",
            Some("permessage-deflate;client_max_window_bits=12"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Some("permessage-deflate;server_no_context_takeover;client_no_context_takeover"),
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            Some("permessage-deflate"),
        ),
        ("permessage-deflate; server_max_window_bits=10", None),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            Some("permessage-deflate"),
        ),
        (
            "x-webkit-deflate-frame, permessage-deflate",
            Some("permessage-deflate"),
        ),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=09", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        (
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            None,
        ),
        ("permessage-deflate; unknown", None),
        ("permessage-bzip2", None),
        ("", None),
    ];
    for (offer, answer) in cases {
        assert_eq!(negotiate(offer).as_deref(), answer, "{offer}");
    }
}

#[test]
fn offers_may_stand_in_several_headers() {
    let offers = ["permessage-bzip2", "permessage-deflate"];
    let agreed = Deflate::negotiate(offers, CompressionPolicy::default());
    assert_eq!(agreed.unwrap().response(), "permessage-deflate");
}

#[test]
fn the_server_may_ask_for_messages_without_context() {
    let policy = CompressionPolicy {
        client_no_context_takeover: true,
    };
    let agreed = Deflate::negotiate(["permessage-deflate"], policy).unwrap();
    assert_eq!(
        agreed.response(),
        "permessage-deflate;client_no_context_takeover"
    );
}

/// A client's compressor, as zlib's users write it: flushed per message, the tail cut off.
fn client_message(compressor: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 64);
    compressor
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflater() -> Inflater {
    Inflater::new(&Deflate::default())
}

#[test]
fn messages_may_refer_to_earlier_ones() {
    let mut compressor = Compress::new(Compression::best(), false);
    let mut inflater = inflater();
    let payload: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
    let first = client_message(&mut compressor, &payload);
    let second = client_message(&mut compressor, &payload);
    assert!(
        second.len() * 10 < first.len(),
        "the second is a reference to the first"
    );
    for message in [first, second] {
        assert_eq!(inflater.inflate(&message, 10_000).unwrap(), payload);
    }
}

#[test]
fn examples_of_the_rfc() {
    // Section 7.2.3: one block, two messages sharing a window, no compression, a final block, and
    // two blocks in one message.
    let mut shared = inflater();
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(shared.inflate(&first, 100).unwrap(), "Hello");
    assert_eq!(
        shared
            .inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], 100)
            .unwrap(),
        "Hello"
    );
    let stored = [
        0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
    ];
    assert_eq!(inflater().inflate(&stored, 100).unwrap(), "Hello");
    let mut after_final = inflater();
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(after_final.inflate(&last, 100).unwrap(), "Hello");
    assert_eq!(after_final.inflate(&first, 100).unwrap(), "Hello");
    let two = [
        0xf2, 0x48, 0x05, 0, 0, 0, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0,
    ];
    assert_eq!(inflater().inflate(&two, 100).unwrap(), "Hello");
}

#[test]
fn an_empty_message_is_one_byte() {
    assert_eq!(inflater().inflate(&[0], 100).unwrap(), "");
}

#[test]
fn short_and_random_messages_are_not_compressed() {
    assert_eq!(compress(&[b'x'; WORTH_COMPRESSING - 1]), None);
    let mut seed = 1_u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(4096)
    .collect();
    assert_eq!(compress(&random), None);
}

#[test]
fn each_message_out_stands_alone() {
    let payload = b"[null,null,\"room:x\",\"new_msg\",{\"body\":\"abcabcabcabc\"}]".repeat(8);
    let first = compress(&payload).unwrap();
    assert_eq!(
        compress(&payload).unwrap(),
        first,
        "no reference to the first"
    );
    assert_eq!(inflater().inflate(&first, 10_000).unwrap(), payload);
}

proptest! {
    #[test]
    fn what_clients_compress_is_inflated(
        messages in prop::collection::vec("[a-e]{0,2000}", 1..6), level in 0_u32..10,
    ) {
        let mut compressor = Compress::new(Compression::new(level), false);
        let mut inflater = inflater();
        for message in messages {
            let deflated = client_message(&mut compressor, message.as_bytes());
            prop_assert_eq!(inflater.inflate(&deflated, 2000).unwrap(), message);
        }
    }

    #[test]
    fn what_is_compressed_inflates_to_the_same(message in "[a-z]{1,5}(abc|é😀){50,200}") {
        let deflated = compress(message.as_bytes()).unwrap();
        prop_assert!(deflated.len() < message.len());
        prop_assert_eq!(inflater().inflate(&deflated, message.len()).unwrap(), message);
    }

    #[test]
    fn junk_never_panics_nor_passes_the_limit(bytes: Vec<u8>, limit in 0_usize..100) {
        if let Ok(out) = inflater().inflate(&bytes, limit) {
            prop_assert!(out.len() <= limit);
        }
    }
}
