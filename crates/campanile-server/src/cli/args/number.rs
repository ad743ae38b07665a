//! Whole numbers that are typed. What is none, or out of its range, is told with the range; what a number is for is not
//! known here.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Reads a number of this range.
pub fn within<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| format!("write a whole number from {least} to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_the_range_is_told_with_it() {
        let read = within(1_u16..=366);
        assert_eq!((read("1"), read("366")), (Ok(1), Ok(366)));
        for wrong in ["0", "367", "99999999999", "-1", "7d", "", "1.5"] {
            let said = read(wrong).unwrap_err();
            assert_eq!(said, "write a whole number from 1 to 366", "{wrong}");
        }
    }
}
