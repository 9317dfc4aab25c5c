//! Tables: files of real loggers, spellings of spreadsheets, and input of an attacker.

use std::fs::File;

use depin_core::{Decimal, ErrorKind, Reading, Timestamp, reading::Quantity};
use depin_data::formats::{
    Leftover, Reason,
    csv::{MAX_ROW, Row, Table, TimeFormat, write},
};
use depin_testkit::vectors;
use proptest::prelude::*;

fn all(table: &Table, bytes: &[u8]) -> Vec<Row> {
    table.read(bytes).unwrap().collect::<Result<_, _>>().unwrap()
}

fn table(format: TimeFormat) -> Table {
    Table::new("t", format).column("v", Quantity::new("value", "Cel"))
}

/// A column of a real file, and what a decimal calculator makes of it.
struct Real {
    file: &'static str,
    time: &'static str,
    format: TimeFormat,
    column: &'static str,
    rows: usize,
    readings: usize,
    /// Of the readings, exact.
    sum: &'static str,
    last: &'static str,
}

const REAL: [Real; 7] = [
    Real {
        file: "weather_5min.csv",
        time: "",
        format: TimeFormat::MonthFirst { east: -7 * 60 },
        column: "Ambient Temperature",
        rows: 1151,
        readings: 1147,
        sum: "-719.665877807",
        last: "2022-01-05T06:50:00.000Z",
    },
    Real {
        file: "weather_5min.csv",
        time: "",
        format: TimeFormat::MonthFirst { east: -7 * 60 },
        column: "Barometric Pressure",
        rows: 1151,
        readings: 1147,
        sum: "937302.4115",
        last: "2022-01-05T06:50:00.000Z",
    },
    Real {
        file: "climate_buoy_30min.csv",
        time: "time (UTC)",
        format: TimeFormat::Rfc3339,
        column: "temperature (celsius)",
        rows: 4999,
        readings: 4999,
        sum: "30500.469",
        last: "2016-05-29T03:00:00.000Z",
    },
    // Thirteen of these cells were written from binary floats and have more than 12 decimals.
    Real {
        file: "energy_inverter_15min.csv",
        time: "",
        format: TimeFormat::Local { east: 0 },
        column: "ac_power__773",
        rows: 480,
        readings: 467,
        sum: "403174.60588",
        last: "2022-01-06T23:46:00.000Z",
    },
    Real {
        file: "energy_meter_1min.csv",
        time: "measured_on",
        format: TimeFormat::Rfc3339,
        column: "ac_power__752",
        rows: 2607,
        readings: 2607,
        sum: "4153483.63953",
        last: "2022-03-20T06:59:00.000Z",
    },
    Real {
        file: "fraud_outlier_labelled.csv",
        time: "timestamp",
        format: TimeFormat::Rfc3339,
        column: "value_normalized",
        rows: 500,
        readings: 500,
        sum: "235.516450385",
        last: "2017-04-20T09:45:00.000Z",
    },
    Real {
        file: "track_drive.csv",
        time: "time",
        format: TimeFormat::Rfc3339,
        column: "lon",
        rows: 3540,
        readings: 3540,
        sum: "38903.6092008814",
        last: "2019-05-01T14:41:35.000Z",
    },
];

#[test]
fn files_of_real_loggers_are_read_to_the_last_digit() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps") else { return };
    for real in REAL {
        let table = Table::new(real.time, real.format).column(real.column, Quantity::new("q", ""));
        let rows = table.read(File::open(folder.join(real.file)).unwrap()).unwrap();
        let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
        let readings: Vec<_> = rows.iter().flat_map(|row| &row.readings).collect();
        let sum: i128 = readings.iter().map(|reading| reading.value().scaled()).sum();
        assert_eq!(rows.len(), real.rows, "{}", real.file);
        assert_eq!(readings.len(), real.readings, "{}", real.file);
        assert_eq!(sum, Decimal::parse(real.sum).unwrap().scaled(), "{}", real.file);
        assert_eq!(readings.last().unwrap().at().to_string(), real.last, "{}", real.file);
        let left = rows.iter().map(|row| row.leftovers.len()).sum::<usize>();
        assert_eq!(left + readings.len(), real.rows, "{}: every cell is told", real.file);
    }
}

#[test]
fn digits_of_binary_floats_are_rounded_when_asked() {
    let text = "t,v\n0,0.0435299999999999\n1,0.04353\n";
    let exact = all(&table(TimeFormat::UnixSeconds), text.as_bytes());
    assert_eq!(exact[0].leftovers[0].reason, Reason::Unrepresentable);
    assert_eq!(exact[0].leftovers[0].value, "0.0435299999999999");
    let rounded = all(&table(TimeFormat::UnixSeconds).rounded(9), text.as_bytes());
    assert_eq!(rounded[0].readings[0].value(), rounded[1].readings[0].value());
}

#[test]
fn moments_are_read_as_loggers_write_them() {
    use TimeFormat::{Local, MonthFirst, Rfc3339, UnixMillis, UnixSeconds};
    for (format, text, expected) in [
        (UnixSeconds, "1640995500", Some("2022-01-01T00:05:00.000Z")),
        (UnixSeconds, "1640995500.9999", Some("2022-01-01T00:05:00.999Z")),
        (UnixMillis, "1640995500123", Some("2022-01-01T00:05:00.123Z")),
        (Rfc3339, "2022-01-01 02:05:00+02:00", Some("2022-01-01T00:05:00.000Z")),
        (Local { east: 60 }, "2022-01-01 01:05", Some("2022-01-01T00:05:00.000Z")),
        (Local { east: -90 }, "2021-12-31T22:35:00.5", Some("2022-01-01T00:05:00.500Z")),
        (MonthFirst { east: 0 }, "1/31/2022 0:05", Some("2022-01-31T00:05:00.000Z")),
        (UnixSeconds, "-1", None),
        (UnixSeconds, "1e24", None),
        (UnixSeconds, "noon", None),
        (UnixMillis, "", None),
        (Rfc3339, "2022-01-01 02:05:00", None),
        (Local { east: 0 }, "2022-01-01 01:05:00Z", None),
        (Local { east: 900 }, "2022-01-01 01:05", None),
        (MonthFirst { east: 0 }, "31/1/2022 0:05", None),
        (MonthFirst { east: 0 }, "1/1/22 0:05", None),
    ] {
        let row = all(&table(format), format!("t,v\n{text},1\n").as_bytes()).remove(0);
        let found = row.readings.first().map(|reading| reading.at().to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
        assert!(row.leftovers.iter().all(|left| left.reason == Reason::Time));
    }
}

#[test]
fn each_cell_that_is_no_number_is_told_with_row_and_column() {
    let text = "t,\"a, b\",skipped,v\r\n0,1,x,2\r\n1,,x,NaN\r\n2,two,x,4\r\n3,1\r\n4,1,x,2,9\r\nlater,1,x,2\r\n\"5\",\" 6 \",\"x\n\"\"y\"\"\",7\r\n";
    let table = table(TimeFormat::UnixSeconds).column("a, b", Quantity::new("other", ""));
    let rows = all(&table, text.as_bytes());
    let told = |row: &Row| {
        let told = |left: &Leftover| (left.record, left.field.clone(), left.reason);
        row.leftovers.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(rows[0].readings.len(), 2);
    assert_eq!(
        told(&rows[1]),
        [(1, "v".into(), Reason::Missing), (1, "a, b".into(), Reason::Missing)]
    );
    assert_eq!(told(&rows[2]), [(2, "a, b".into(), Reason::NotANumber)]);
    assert_eq!(rows[2].readings.len(), 1, "the rest of the row is kept");
    assert_eq!(told(&rows[3]), [(3, String::new(), Reason::Fields)]);
    assert_eq!(told(&rows[4]), [(4, String::new(), Reason::Fields)]);
    assert_eq!(told(&rows[5]), [(5, "t".into(), Reason::Time)]);
    assert_eq!(rows[6].readings.len(), 2, "{:?}", rows[6]);
    assert_eq!((rows[0].record, rows[6].record), (0, 6));
}

#[test]
fn columns_that_are_not_there_are_an_error_of_the_table() {
    let read =
        |text: &str, table: &Table| table.read(text.as_bytes()).map(drop).unwrap_err().kind();
    let good = table(TimeFormat::UnixSeconds);
    assert_eq!(read("t,w\n", &good), ErrorKind::Config);
    assert_eq!(read("time,v\n", &good), ErrorKind::Config);
    assert_eq!(read("t,v,v\n", &good), ErrorKind::Config);
    assert_eq!(read("", &good), ErrorKind::Config);
    let long = good.column("t", Quantity::new(&"n".repeat(33), ""));
    assert_eq!(read("t,v\n", &long), ErrorKind::Config);
}

#[test]
fn a_row_without_end_is_refused_in_bounded_memory() {
    // Two gigabytes of one cell, made as they are read; a quote that is never closed.
    for head in ["t,v\n0,", "t,v\n0,\"", "t,\"v"] {
        let endless = std::io::Read::take(std::io::repeat(b'1'), 2 << 30);
        let reader = std::io::Read::chain(head.as_bytes(), endless);
        let table = table(TimeFormat::UnixSeconds);
        let outcome = table.read(reader).and_then(|rows| rows.collect::<Result<Vec<_>, _>>());
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Limit, "{head}");
    }
    let filler = " ".repeat(MAX_ROW / 2);
    let text = format!("t,v\n0,{filler}1\n1,{filler}2\n2,{filler}3\n");
    assert_eq!(all(&table(TimeFormat::UnixSeconds), text.as_bytes()).len(), 3);
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(
        cells in prop::collection::vec((0u64..1 << 47, any::<i64>(), -12i8..=6), 1..20),
    ) {
        let quantity = Quantity::new("a \"quoted\", name\n", "m/s");
        let readings: Vec<_> = cells.into_iter().filter_map(|(millis, mantissa, exponent)| {
            let value = Decimal::new(mantissa, exponent).ok()?;
            Some(Reading::new(quantity.clone(), value, Timestamp::from_millis(millis)))
        }).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &readings).unwrap();
        let table = Table::new("time", TimeFormat::Rfc3339).column("value", Quantity::new("q", "m/s"));
        let found: Vec<_> = all(&table, &bytes).into_iter().flat_map(|row| row.readings).collect();
        prop_assert!(found.iter().map(|r| (r.at(), r.value())).eq(readings.iter().map(|r| (r.at(), r.value()))));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "[0-9,\"\r\n;tv.]{0,64}", east: i16) {
        let read = |table: Table, bytes: &[u8]| table.read(bytes).map(|rows| rows.count());
        for format in [TimeFormat::Rfc3339, TimeFormat::Local { east }, TimeFormat::MonthFirst { east }] {
            let _ = read(table(format), &[b"t,v\n", &bytes[..]].concat());
            let _ = read(table(format), format!("t,v\n{text}").as_bytes());
        }
        let _ = read(table(TimeFormat::UnixMillis), &bytes);
    }
}
