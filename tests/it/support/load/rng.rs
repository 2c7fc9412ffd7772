//! Random choices that a seed repeats.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Self(seed);
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below another, which is not zero.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    pub(crate) fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        match among.len() {
            0 => None,
            count => Some(&among[self.below(count as u64) as usize]),
        }
    }
}

/// Another one every time, unless `QUIKAPP_TEST_SEED` names one.
pub(crate) fn seed() -> u64 {
    let named = std::env::vars().find(|(name, _)| name == "QUIKAPP_TEST_SEED");
    match named {
        Some((_, seed)) => seed.parse().expect("QUIKAPP_TEST_SEED is a number"),
        None => uuid::Uuid::new_v4().as_u64_pair().0 >> 20,
    }
}
