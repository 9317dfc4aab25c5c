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

/// Positions within 10^-9 degrees of the edge of their cell, four of them within 10^-13, in all quarters of the globe.
/// The library in C (4.5) has them in the same cells. Whoever calculates sines less exactly, or otherwise, has not.
const AT_THE_EDGE: [(i32, i32, &str); 22] = [
    (-506_931_816, 1_232_220_091, "83d863fffffffff"),
    (659_212_385, 1_748_795_834, "830d96fffffffff"),
    (-375_710_406, -416_372_921, "84c5881ffffffff"),
    (-324_862_863, 1_136_894_580, "84a725dffffffff"),
    (-170_819_667, -1_045_290_493, "8492eedffffffff"),
    (-220_762_152, -1_534_837_711, "85b4ab6ffffffff"),
    (483_906_050, -656_711_736, "852b3357fffffff"),
    (495_616_899, 685_889_532, "8520250bfffffff"),
    (42_369_655, 24_734_928, "867560d37ffffff"),
    (672_841_043, -546_490_145, "8606d074fffffff"),
    (-311_246_950, -1_546_713_755, "87b435c12ffffff"),
    (215_292_145, -1_363_953_472, "875071d4bffffff"),
    (-459_347_246, 742_539_301, "88cc7131e9fffff"),
    (-337_450_992, -1_651_738_525, "88b5454507fffff"),
    (218_613_394, 1_510_494_032, "894e1dd554bffff"),
    (426_715_761, -642_538_209, "892b0b85033ffff"),
    (432_649_505, 1_187_542_622, "89311138ecfffff"),
    (562_081_219, -28_402_916, "8919721635bffff"),
    (-9_121_664, -357_247_843, "8a808572000ffff"),
    (68_020_209, 410_175_162, "8a7ac025920ffff"),
    (-315_420_065, 1_263_186_387, "8bb829633881fff"),
    (694_004_919, -1_489_404_389, "8b0d09904aa3fff"),
];

#[test]
fn places_at_the_very_edge_lie_in_the_same_cells_on_every_machine() {
    for (latitude, longitude, name) in AT_THE_EDGE {
        let cell: Cell = name.parse().unwrap();
        let at = |latitude| {
            Cell::at(Position::try_new(latitude, longitude).unwrap(), cell.resolution()).unwrap()
        };
        assert_eq!(at(latitude), cell, "{latitude} {longitude}");
        assert!([latitude - 1, latitude + 1].into_iter().any(|next| at(next) != cell), "{name}");
    }
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
