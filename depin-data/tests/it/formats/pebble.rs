//! Pebble's packages, encoded here by hand as the schema says, and their size as our batches.

use std::fs;

use depin_core::{Algorithm, B256, Decimal, Reading, Sequence, Timestamp};
use depin_data::{
    batch::seal,
    formats::{
        Reason,
        pebble::{MAX_BYTES, PebbleError, read},
    },
};
use depin_testkit::vectors;
use proptest::prelude::*;

use crate::support::{Device, NOW, network};

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn uint(tag: u64, value: u32) -> Vec<u8> {
    [varint(tag << 3), varint(value.into())].concat()
}

fn sint(tag: u64, value: i32) -> Vec<u8> {
    uint(tag, (value << 1 ^ value >> 31) as u32)
}

fn bytes(tag: u64, value: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn package(data: &[u8]) -> Vec<u8> {
    [uint(1, 0), bytes(2, data), uint(3, NOW.secs() as u32), bytes(4, &[7; 64])].concat()
}

/// What a device in a room of the southern and western half of the earth sends.
fn sample() -> Vec<u8> {
    let axes = [-2658, 9, 11].map(|raw| sint(11, raw)).concat();
    let forces = [2658, -3835, 3326].map(|raw| sint(12, raw)).concat();
    let fields = [
        uint(1, 1500),
        uint(2, 398),
        sint(3, -335_123_456),
        sint(4, -1_234_567_891),
        uint(5, 1_234_567),
        sint(6, -1059),
        uint(7, 80_918),
        uint(8, 9743),
        uint(9, 3_000_000_000),
        uint(10, 4_294_967_295),
        axes,
        forces,
        bytes(13, b"3f7e6c358150c30c"),
    ];
    package(&fields.concat())
}

#[test]
fn every_field_has_its_sign_and_scale() {
    let sample = read(&sample()).unwrap();
    assert_eq!(sample.at, NOW);
    assert_eq!(sample.signature, [7; 64]);
    let found: Vec<_> = sample
        .import
        .readings
        .iter()
        .map(|reading| {
            assert_eq!(reading.at(), NOW);
            format!(
                "{} {} {}",
                reading.quantity().name(),
                reading.value(),
                reading.quantity().unit()
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "signal 55 /100",
            "battery 86.7 %EL",
            "latitude -33.5123456 lat",
            "longitude -123.4567891 lon",
            "gas-resistance 12345.67 Ohm",
            "temperature -10.59 Cel",
            "pressure 80918 Pa",
            "humidity 97.43 %RH",
            "light 30000000 lx",
            "temperature2 42949672.95 Cel",
            "gyroscope-x -2658 ",
            "gyroscope-y 9 ",
            "gyroscope-z 11 ",
            "accelerometer-x 2658 ",
            "accelerometer-y -3835 ",
            "accelerometer-z 3326 ",
        ]
    );
    assert_eq!(sample.import.leftovers.len(), 1);
    assert_eq!(sample.import.leftovers[0].reason, Reason::Text);
}

#[test]
fn a_missing_field_is_no_zero_and_no_fix_is_no_place() {
    assert_eq!(read(&package(&[])).unwrap().import.readings, []);
    let lost = [sint(3, 2_000_000_000), sint(4, 2_000_000_000), sint(6, 0)].concat();
    let import = read(&package(&lost)).unwrap().import;
    assert_eq!(import.readings.len(), 1);
    assert_eq!(import.leftovers.iter().map(|l| l.reason).collect::<Vec<_>>(), [Reason::Missing; 2]);
}

#[test]
fn required_fields_are_required() {
    let fields = [uint(1, 0), bytes(2, &[]), uint(3, 1), bytes(4, &[])];
    for (missing, name) in ["type", "data", "timestamp", "signature"].into_iter().enumerate() {
        let rest = fields.iter().enumerate().filter(|(i, _)| *i != missing);
        let package = rest.flat_map(|(_, field)| field.clone()).collect::<Vec<_>>();
        assert_eq!(read(&package), Err(PebbleError::Lacks(name)));
    }
    let of = |kind| read(&[uint(1, kind), bytes(2, &[]), uint(3, 1), bytes(4, &[])].concat());
    assert_eq!(of(1), Err(PebbleError::NoSample("configuration")));
    assert_eq!(of(2), Err(PebbleError::NoSample("state")));
    assert_eq!(of(3), Err(PebbleError::Malformed));
}

#[test]
fn packages_are_bounded() {
    assert_eq!(read(&[0; MAX_BYTES + 1]), Err(PebbleError::Bytes));
    let axes = (0..4).flat_map(|raw| sint(11, raw)).collect::<Vec<_>>();
    assert_eq!(read(&package(&axes)), Err(PebbleError::Axes));
    // A length of four gigabytes.
    let lie = [uint(1, 0), varint(2 << 3 | 2), varint(u64::from(u32::MAX))].concat();
    assert_eq!(read(&lie), Err(PebbleError::Malformed));
    // Another writer may pack repeated numbers.
    let packed = bytes(12, &[varint(2), varint(1), varint(4)].concat());
    assert_eq!(read(&package(&packed)).unwrap().import.readings.len(), 3);
}

#[test]
fn a_cut_package_is_refused() {
    let whole = sample();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
}

/// Samples composed of two real sources, because no capture of a Pebble is public: hourly weather of a
/// station in Alaska, and a smart watch in motion.
fn composed() -> Option<Vec<Reading>> {
    let folder = vectors::find(env!("CARGO_MANIFEST_DIR"), "data/telemetry")?;
    let weather = fs::read_to_string(folder.join("703165TY.csv")).unwrap();
    let motion = fs::read_to_string(folder.join("BasicMotions_TRAIN.ts")).unwrap();
    let series = motion.lines().skip_while(|line| !line.starts_with("@data")).nth(1).unwrap();
    let channels: Vec<Vec<&str>> =
        series.split(':').map(|part| part.split(',').collect()).collect();
    let scaled = |text: &str, places: usize| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{fraction:0<places$.places$}").parse::<i32>().unwrap()
    };
    let mut readings = Vec::new();
    for (hour, line) in weather.lines().skip(2).take(16).enumerate() {
        let cells: Vec<_> = line.split(',').collect();
        let axes = |from: usize, tag| {
            (from..from + 3)
                .flat_map(|c| sint(tag, scaled(channels[c][hour], 3)))
                .collect::<Vec<_>>()
        };
        let (temperature, humidity) = (scaled(cells[31], 2), scaled(cells[37], 2));
        let fields = [
            uint(1, 1500 + hour as u32),
            uint(2, 398),
            sint(3, 553_170_000),
            sint(4, -1_605_170_000),
            uint(5, 1_234_567 + 321 * hour as u32),
            sint(6, temperature),
            uint(7, scaled(cells[40], 2) as u32),
            uint(8, humidity as u32),
            uint(9, 12_345),
            uint(10, temperature.unsigned_abs()),
            axes(3, 11),
            axes(0, 12),
        ];
        let at = NOW.secs() as u32 + 3600 * hour as u32;
        let package = [uint(1, 0), bytes(2, &fields.concat()), uint(3, at), bytes(4, &[0; 64])];
        readings.extend(read(&package.concat()).unwrap().import.readings);
    }
    Some(readings)
}

#[test]
fn a_reading_of_a_pebble_takes_at_most_forty_bytes_on_the_wire() {
    let Some(readings) = composed() else { return };
    assert_eq!(readings.len(), 256, "sixteen samples of sixteen values");
    for algorithm in Algorithm::ALL {
        let device = Device::new("pebble", algorithm);
        let batch = seal(
            &*device.key,
            &device.did,
            &network(),
            Sequence::new(1 << 20),
            B256::ZERO,
            &readings,
        );
        let length = batch.unwrap().as_bytes().len();
        println!(
            "{length} bytes, {}.{} a reading ({algorithm})",
            length / 256,
            length * 10 / 256 % 10
        );
        assert!(length <= 40 * readings.len(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(random: Vec<u8>) {
        let _ = (read(&random), read(&package(&random)));
    }

    #[test]
    fn temperatures_are_a_hundredth_of_what_is_sent(raw: i32) {
        let import = read(&package(&sint(6, raw))).unwrap().import;
        prop_assert_eq!(import.readings[0].value(), Decimal::new(raw.into(), -2).unwrap());
        prop_assert_eq!(import.readings[0].at(), Timestamp::from_secs(NOW.secs()));
    }
}
