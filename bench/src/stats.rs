//! Medians and quartiles.

/// A sample's middle.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Spread {
    /// A quarter is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub high: f64,
}

impl Spread {
    /// Of these numbers; quartiles between two of them are interpolated.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let (below, part) = (place.floor(), place.fract());
            let value = |i: f64| sorted.get(i as usize).copied();
            let low = value(below).unwrap_or_default();
            low + (value(below + 1.0).unwrap_or(low) - low) * part
        };
        Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[track_caller]
    fn check(values: &[f64], expect: [f64; 3]) {
        let Spread { low, median, high } = Spread::of(values.iter().copied());
        assert_eq!([low, median, high], expect, "{values:?}");
    }

    #[test]
    fn quartiles_are_interpolated() {
        check(&[], [0.0; 3]);
        check(&[7.0], [7.0; 3]);
        check(&[2.0, 1.0], [1.25, 1.5, 1.75]);
        check(&[5.0, 1.0, 3.0, 2.0, 4.0], [2.0, 3.0, 4.0]);
    }
}
