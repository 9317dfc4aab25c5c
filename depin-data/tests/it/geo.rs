//! Places and H3 cells against known answers.

use std::fs;

use depin_core::{Decimal, ErrorKind};
use depin_data::geo::{Cell, Position};
use depin_testkit::vectors;
use proptest::prelude::*;

#[test]
fn every_known_place_lies_in_its_cell() {
    let part = "data/h3/latLngToCell.sample.txt";
    let Some(path) = vectors::find(env!("CARGO_MANIFEST_DIR"), part) else { return };
    let text = fs::read_to_string(path).unwrap();
    let (mut passed, mut total) = (0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let cell: Cell = words.next().unwrap().parse().unwrap();
        let latitude = Decimal::parse(words.next().unwrap()).unwrap();
        let longitude = Decimal::parse(words.next().unwrap()).unwrap();
        // The answers count longitudes from 0 to 360.
        let longitude = match longitude {
            east if east > Decimal::from(180) => {
                Decimal::new((east.scaled() / 1_000) as i64 - 360_000_000_000, -9).unwrap()
            }
            east => east,
        };
        let place = Position::of(latitude, longitude).unwrap();
        total += 1;
        let found = Cell::at(place, cell.resolution()).unwrap();
        passed += usize::from(found == cell);
        if found != cell {
            // The answers have two digits more than a position: 5 mm of the cells of about a metre.
            assert!(cell.resolution() >= 14 && cell.steps(found) == Some(1), "{line}: {found}");
        }
    }
    println!("{passed} of {total} places lie in their cells");
    assert!(total > 10_000);
    assert!(passed * 1_000 >= total * 999, "{passed} of {total}");
}

#[test]
fn what_is_not_on_the_globe_is_refused() {
    for (latitude, longitude) in
        [("90.0000001", "0"), ("-91", "0"), ("0", "180.0000001"), ("9999999999", "0")]
    {
        let of =
            Position::of(Decimal::parse(latitude).unwrap(), Decimal::parse(longitude).unwrap());
        assert_eq!(of.unwrap_err().kind(), ErrorKind::Malformed);
    }
    assert!(Position::try_new(i32::MIN, 0).is_err());
    let place = Position::try_new(0, 0).unwrap();
    assert_eq!(Cell::at(place, 16).unwrap_err().kind(), ErrorKind::Config);
    assert!(Cell::at(place, 5).unwrap().coarser(6).is_err());
    for bad in [0, 1, u64::MAX, 0x8ff3_b2c7_41a0_c911] {
        assert!(Cell::of(bad).is_err(), "{bad:x}");
    }
    for bad in ["", "zz", "891f8c9ac47fff", "-1"] {
        assert!(bad.parse::<Cell>().is_err(), "{bad:?}");
    }
    assert!(Cell::from_value(Decimal::parse("0.5").unwrap()).is_err());
    assert!(Cell::from_value(Decimal::from(-1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cells_survive_text_numbers_and_readings(
        latitude in -900_000_000i32..=900_000_000, longitude in -1_800_000_000i32..=1_800_000_000, resolution in 0u8..=15,
    ) {
        let cell = Cell::at(Position::try_new(latitude, longitude).unwrap(), resolution).unwrap();
        prop_assert_eq!(cell.to_string().parse::<Cell>().unwrap(), cell);
        prop_assert_eq!(Cell::of(cell.index()).unwrap(), cell);
        prop_assert_eq!(Cell::from_value(cell.value()).unwrap(), cell);
        prop_assert_eq!(Cell::at(cell.centre(), resolution).unwrap(), cell);
        let around = cell.around(1);
        prop_assert!(around.contains(&cell) && (6..=7).contains(&around.len()));
        prop_assert!(around.iter().all(|near| near.around(1).contains(&cell)));
        for coarser in 0..resolution {
            prop_assert!(cell.coarser(coarser).unwrap().holds(cell));
        }
    }
}
