//! Unmasking (RFC 6455, section 5.3).

/// XORs `data` with the repeated key, eight bytes at a time, which the compiler turns into vector
/// instructions.
pub(super) fn unmask(data: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_meets_its_key_byte(data: Vec<u8>, key: [u8; 4]) {
            let mut fast = data.clone();
            unmask(&mut fast, key);
            let slow: Vec<_> = data.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(fast, slow);
        }
    }
}
