//! Chance that can be repeated: the same seed gives the same numbers (SplitMix64).

pub struct Chance(u64);

impl Chance {
    /// From `KEYWHEEL_SEED`, or a fresh seed that is printed.
    pub fn new() -> Self {
        Self(keywheel_tests::report::seed())
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
