//! Which class each byte of a 64-byte block belongs to, as bit masks.
//!
//! Three makers of the same masks: AVX-512, AVX2, and plain 64-bit words. A
//! test compares them on random bytes.

/// Bytes looked at in one step.
pub(crate) const BLOCK: usize = 64;

/// One bit a byte, lowest bit first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// `0`-`9`
    pub(crate) digit: u64,
    /// `a`-`z`, `A`-`Z`
    pub(crate) letter: u64,
    /// `_`
    pub(crate) under: u64,
    /// space
    pub(crate) space: u64,
    /// `-`
    pub(crate) dash: u64,
    /// `.`
    pub(crate) dot: u64,
    /// 0x80 and up
    pub(crate) high: u64,
    /// `:`
    pub(crate) colon: u64,
    /// `@`
    pub(crate) at: u64,
    /// `+`, `(`
    pub(crate) lead: u64,
    /// `s`, `S`, `w`, `W`: one comparison, for they differ from `w` in the bits of [`SW`] only
    pub(crate) sw: u64,
}

/// Something that can classify a block.
pub(crate) trait Classify: Copy {
    /// The masks of one block.
    fn classes(self, block: &[u8; BLOCK]) -> Classes;
    /// Runs `f` with this instruction set switched on.
    fn run<F: pulp::NullaryFnOnce>(self, f: F) -> F::Output;
}

/// 64-bit words, for machines without the above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words;

/// The bits that make a `w` of an `s`, an `S` and a `W`.
const SW: u8 = 0x24;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Gathers the top bit of each byte into the low 8 bits.
#[inline(always)]
fn gather(w: u64) -> u64 {
    (w & HIGH).wrapping_shr(7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Top bit set in each byte of `w` below `n`; only for bytes and `n` below 0x80.
#[inline(always)]
fn below(w: u64, n: u64) -> u64 {
    !(w | HIGH).wrapping_sub(LOW.wrapping_mul(n)) & HIGH
}

/// Top bit set in each byte between `lo` and `hi`, both included and ASCII.
#[inline(always)]
fn between(ascii: u64, lo: u64, hi: u64) -> u64 {
    below(ascii, hi + 1) & !below(ascii, lo)
}

impl Words {
    #[inline(always)]
    fn word(w: u64) -> [u64; 11] {
        let ascii = w & !HIGH;
        let high = w & HIGH;
        let is = |lo: u8, hi: u8| gather(between(ascii, u64::from(lo), u64::from(hi)) & !high);
        let one = |b: u8| is(b, b);
        let folded = ascii | (LOW * 0x20);
        [
            is(b'0', b'9'),
            gather(between(folded, u64::from(b'a'), u64::from(b'z')) & !high),
            one(b'_'),
            one(b' '),
            one(b'-'),
            one(b'.'),
            gather(high),
            one(b':'),
            one(b'@'),
            one(b'+') | one(b'('),
            gather(
                between(ascii | (LOW * u64::from(SW)), u64::from(b'w'), u64::from(b'w')) & !high,
            ),
        ]
    }
}

impl Classify for Words {
    fn classes(self, block: &[u8; BLOCK]) -> Classes {
        let mut m = [0u64; 11];
        let (words, _) = block.as_chunks::<8>();
        for (i, w) in words.iter().enumerate() {
            for (m, bits) in m.iter_mut().zip(Self::word(u64::from_le_bytes(*w))) {
                *m |= bits << (8 * i);
            }
        }
        let [digit, letter, under, space, dash, dot, high, colon, at, lead, sw] = m;
        Classes { digit, letter, under, space, dash, dot, high, colon, at, lead, sw }
    }

    #[inline(always)]
    fn run<F: pulp::NullaryFnOnce>(self, f: F) -> F::Output {
        f.call()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Classes, Classify, SW};
    use pulp::x86::{V3, V4};
    use std::arch::x86_64::{__m256i, __m512i};

    /// A byte as the signed lane the intrinsics take.
    #[inline(always)]
    const fn lane(b: u8) -> i8 {
        b.cast_signed()
    }

    // Plain functions with `inline(always)`, no closures: a closure would be
    // compiled without the instruction set, and every intrinsic in it would be
    // a call (measured: four times slower).

    #[inline(always)]
    fn bits256(s: V3, lo: __m256i, hi: __m256i) -> u64 {
        let l = s.avx2._mm256_movemask_epi8(lo).cast_unsigned();
        let h = s.avx2._mm256_movemask_epi8(hi).cast_unsigned();
        u64::from(l) | u64::from(h) << 32
    }

    #[inline(always)]
    fn one256(s: V3, lo: __m256i, hi: __m256i, b: u8) -> u64 {
        let b = s.avx._mm256_set1_epi8(lane(b));
        bits256(s, s.avx2._mm256_cmpeq_epi8(lo, b), s.avx2._mm256_cmpeq_epi8(hi, b))
    }

    /// Bytes from `from` to `from + len`: min(v - from, len) == v - from.
    #[inline(always)]
    fn range256(s: V3, lo: __m256i, hi: __m256i, from: u8, len: u8) -> u64 {
        let from = s.avx._mm256_set1_epi8(lane(from));
        let len = s.avx._mm256_set1_epi8(lane(len));
        let (lo, hi) = (s.avx2._mm256_sub_epi8(lo, from), s.avx2._mm256_sub_epi8(hi, from));
        let lo = s.avx2._mm256_cmpeq_epi8(s.avx2._mm256_min_epu8(lo, len), lo);
        let hi = s.avx2._mm256_cmpeq_epi8(s.avx2._mm256_min_epu8(hi, len), hi);
        bits256(s, lo, hi)
    }

    impl Classify for V3 {
        #[inline(always)]
        fn classes(self, block: &[u8; BLOCK]) -> Classes {
            let [lo, hi]: [__m256i; 2] = pulp::cast(*block);
            let fold = self.avx._mm256_set1_epi8(0x20);
            let flo = self.avx2._mm256_or_si256(lo, fold);
            let fhi = self.avx2._mm256_or_si256(hi, fold);
            let sw = self.avx._mm256_set1_epi8(lane(SW));
            let slo = self.avx2._mm256_or_si256(lo, sw);
            let shi = self.avx2._mm256_or_si256(hi, sw);
            Classes {
                digit: range256(self, lo, hi, b'0', 9),
                letter: range256(self, flo, fhi, b'a', 25),
                under: one256(self, lo, hi, b'_'),
                space: one256(self, lo, hi, b' '),
                dash: one256(self, lo, hi, b'-'),
                dot: one256(self, lo, hi, b'.'),
                high: bits256(self, lo, hi),
                colon: one256(self, lo, hi, b':'),
                at: one256(self, lo, hi, b'@'),
                lead: one256(self, lo, hi, b'+') | one256(self, lo, hi, b'('),
                sw: one256(self, slo, shi, b'w'),
            }
        }

        #[inline(always)]
        fn run<F: pulp::NullaryFnOnce>(self, f: F) -> F::Output {
            self.vectorize(f)
        }
    }

    #[inline(always)]
    fn one512(s: V4, v: __m512i, b: u8) -> u64 {
        s.avx512bw._mm512_cmpeq_epi8_mask(v, s.avx512f._mm512_set1_epi8(lane(b)))
    }

    #[inline(always)]
    fn range512(s: V4, v: __m512i, from: u8, len: u8) -> u64 {
        let x = s.avx512bw._mm512_sub_epi8(v, s.avx512f._mm512_set1_epi8(lane(from)));
        s.avx512bw._mm512_cmple_epu8_mask(x, s.avx512f._mm512_set1_epi8(lane(len)))
    }

    impl Classify for V4 {
        #[inline(always)]
        fn classes(self, block: &[u8; BLOCK]) -> Classes {
            let v: __m512i = pulp::cast(*block);
            let folded = self.avx512f._mm512_or_si512(v, self.avx512f._mm512_set1_epi8(0x20));
            let sw = self.avx512f._mm512_or_si512(v, self.avx512f._mm512_set1_epi8(lane(SW)));
            Classes {
                digit: range512(self, v, b'0', 9),
                letter: range512(self, folded, b'a', 25),
                under: one512(self, v, b'_'),
                space: one512(self, v, b' '),
                dash: one512(self, v, b'-'),
                dot: one512(self, v, b'.'),
                high: self.avx512bw._mm512_movepi8_mask(v),
                colon: one512(self, v, b':'),
                at: one512(self, v, b'@'),
                lead: one512(self, v, b'+') | one512(self, v, b'('),
                sw: one512(self, sw, b'w'),
            }
        }

        #[inline(always)]
        fn run<F: pulp::NullaryFnOnce>(self, f: F) -> F::Output {
            self.vectorize(f)
        }
    }
}

/// The best maker this machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Simd {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Words(Words),
}

impl Simd {
    /// Asks the processor.
    pub(crate) fn detect() -> Self {
        Self::all().into_iter().next().unwrap_or(Simd::Words(Words))
    }

    /// Every maker this machine can run, the best first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V4::try_new().map(Simd::Avx512));
            all.extend(pulp::x86::V3::try_new().map(Simd::Avx2));
        }
        all.push(Simd::Words(Words));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_hand(block: &[u8; BLOCK]) -> Classes {
        let mask = |f: &dyn Fn(u8) -> bool| {
            block.iter().enumerate().fold(0u64, |m, (i, b)| m | u64::from(f(*b)) << i)
        };
        Classes {
            digit: mask(&|b| b.is_ascii_digit()),
            letter: mask(&|b| b.is_ascii_alphabetic()),
            under: mask(&|b| b == b'_'),
            space: mask(&|b| b == b' '),
            dash: mask(&|b| b == b'-'),
            dot: mask(&|b| b == b'.'),
            high: mask(&|b| b >= 0x80),
            colon: mask(&|b| b == b':'),
            at: mask(&|b| b == b'@'),
            lead: mask(&|b| b == b'+' || b == b'('),
            sw: mask(&|b| matches!(b, b's' | b'S' | b'w' | b'W')),
        }
    }

    fn of(simd: Simd, block: &[u8; BLOCK]) -> Classes {
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(s) => s.classes(block),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(s) => s.classes(block),
            Simd::Words(s) => s.classes(block),
        }
    }

    #[test]
    fn every_byte_value() {
        for base in (0..=255u8).step_by(BLOCK) {
            let block: [u8; BLOCK] = std::array::from_fn(|i| base + u8::try_from(i).unwrap());
            for simd in Simd::all() {
                assert_eq!(of(simd, &block), by_hand(&block), "{simd:?} from {base}");
            }
        }
    }

    proptest! {
        #[test]
        fn makers_agree(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: [u8; BLOCK] = bytes.try_into().unwrap();
            for simd in Simd::all() {
                prop_assert_eq!(of(simd, &block), by_hand(&block));
            }
        }
    }
}
