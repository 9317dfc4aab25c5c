//! Parquet as DuckDB and PyArrow read it: exact sums, moments to the millisecond, text as it was.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use depin_core::{
    Algorithm, B256, Batch, Decimal, Reading, Signer, Timestamp, Unverified, Verified,
    reading::Quantity,
};
use depin_data::{
    batch::BatchVerifier,
    formats::parquet::{GROUP_ROWS, ParquetWriter},
};
use depin_testkit::skip::skipped;

use crate::support::{Device, NOW, network};

/// A Python that has `module`: the one that `DEPIN_PYTHON` names, or the one on the path.
fn python(module: &str) -> Option<PathBuf> {
    let python = std::env::var_os("DEPIN_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let answer = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if answer.is_ok_and(|answer| answer.status.success()) {
        return Some(python);
    }
    let python = python.display();
    skipped(format_args!("{python} has no {module}; pip install it or set DEPIN_PYTHON"));
    None
}

fn run(python: &Path, program: &str, file: &Path) -> String {
    let answer = Command::new(python).args(["-c", program]).arg(file).output().unwrap();
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{errors}");
    String::from_utf8(answer.stdout).unwrap()
}

fn verified(device: &mut Device, readings: &[Reading]) -> Verified<Batch> {
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    Unverified::new(device.seal(readings)).verify(&verifier).unwrap()
}

/// The ends of every range, one decimal of each exponent, and texts that want quoting.
fn written(path: &Path) -> Vec<Reading> {
    let mut readings = Vec::new();
    for exponent in Decimal::MIN_EXPONENT..=Decimal::MAX_EXPONENT {
        for mantissa in [1, -1, i64::MAX, i64::MIN] {
            let at = Timestamp::from_millis(NOW.millis() + 7 * readings.len() as u64);
            let value = Decimal::new(mantissa, exponent).unwrap();
            readings.push(Reading::new(Quantity::new("extreme", "Cel"), value, at));
        }
    }
    for (name, at) in [
        ("it's \"quoted\", é", Timestamp::EPOCH),
        ("far", Timestamp::from_millis(253_402_300_799_999)),
    ] {
        readings.push(Reading::new(
            Quantity::new(name, ""),
            Decimal::parse("-10.597").unwrap(),
            at,
        ));
    }
    let mut writer = ParquetWriter::new(File::create(path).unwrap()).unwrap();
    let mut device = Device::new("parquet", Algorithm::EdDsa);
    for (index, part) in readings.chunks(10).enumerate() {
        writer.push(100 + index as u64, &verified(&mut device, part)).unwrap();
    }
    writer.finish().unwrap();
    readings
}

fn expected(readings: &[Reading]) -> String {
    let rows = readings.iter().enumerate().map(|(position, reading)| {
        let (name, unit) = (reading.quantity().name(), reading.quantity().unit());
        let (scaled, millis) = (reading.value().scaled(), reading.at().millis());
        let (batch, position) = (position / 10, position % 10);
        format!(
            "did:example:parquet|{}|{batch}|{position}|{millis}|{name}|{unit}|{scaled}\n",
            100 + batch
        )
    });
    rows.collect()
}

const DUCKDB: &str = r#"
import sys, duckdb
from decimal import Context
rows = duckdb.execute("""select device, log_index, sequence, reading, epoch_ms(time), quantity, unit,
    value, typeof(value), typeof(time) from read_parquet(?) order by log_index, reading""", [sys.argv[1]])
wide = Context(prec=60)
for row in rows.fetchall():
    assert row[8:] == ("DECIMAL(38,12)", "TIMESTAMP WITH TIME ZONE"), row
    print(*row[:7], int(wide.scaleb(row[7], 12)), sep="|")
"#;

const PYARROW: &str = r#"
import sys, pyarrow.parquet as pq
from decimal import Context
table = pq.read_table(sys.argv[1])
assert str(table.schema.field("value").type) == "decimal128(38, 12)", table.schema
assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]", table.schema
assert str(table.schema.field("batch").type) == "fixed_size_binary[32]", table.schema
table = table.set_column(5, "time", table["time"].cast("int64"))
wide = Context(prec=60)
for row in table.drop_columns(["batch"]).to_pylist():
    row["value"] = int(wide.scaleb(row["value"], 12))
    print(*row.values(), sep="|")
"#;

#[test]
fn duckdb_reads_every_value_as_it_was_signed() {
    let Some(python) = python("duckdb") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let readings = written(file.path());
    assert_eq!(run(&python, DUCKDB, file.path()), expected(&readings));
}

#[test]
fn pyarrow_reads_every_value_as_it_was_signed() {
    let Some(python) = python("pyarrow") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let readings = written(file.path());
    assert_eq!(run(&python, PYARROW, file.path()), expected(&readings));
}

/// One batch that stands where numbers end.
fn at_the_end(path: &Path) {
    let device = Device::new("last", Algorithm::EdDsa);
    let verify = |batch| {
        let verifier = BatchVerifier::new(&network(), device.key.public_key());
        Unverified::new(batch).verify(&verifier).unwrap()
    };
    let readings = |at| [Reading::new(Quantity::new("t", "Cel"), Decimal::from(1), at)];
    let mut writer = ParquetWriter::new(File::create(path).unwrap()).unwrap();
    for number in [0, i64::MAX as u64, u64::MAX] {
        let batch = device.seal_at(number, B256::repeat_byte(1), &readings(NOW));
        writer.push(number, &verify(batch)).unwrap();
    }
    writer.finish().unwrap();
}

const LARGEST: &str =
    "0 0\n9223372036854775807 9223372036854775807\n18446744073709551615 18446744073709551615\n";

#[test]
fn duckdb_reads_the_largest_numbers_in_their_order() {
    let Some(python) = python("duckdb") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    at_the_end(file.path());
    let program = r#"
import sys, duckdb
for row in duckdb.execute("""select log_index, sequence, typeof(log_index), typeof(sequence)
    from read_parquet(?) order by log_index""", [sys.argv[1]]).fetchall():
    assert row[2:] == ("UBIGINT", "UBIGINT"), row
    print(*row[:2])
# Also where the statistics of a row group decide what is read.
found = duckdb.execute("select count(*) from read_parquet(?) where sequence > 9223372036854775807", [sys.argv[1]])
assert found.fetchall() == [(1,)]
"#;
    assert_eq!(run(&python, program, file.path()), LARGEST);
}

#[test]
fn pyarrow_reads_the_largest_numbers() {
    let Some(python) = python("pyarrow") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    at_the_end(file.path());
    let program = r#"
import sys, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
assert str(table.schema.field("sequence").type) == "uint64", table.schema
assert str(table.schema.field("log_index").type) == "uint64", table.schema
for row in table.to_pylist():
    print(row["log_index"], row["sequence"])
"#;
    assert_eq!(run(&python, program, file.path()), LARGEST);
}

#[test]
fn row_groups_are_bounded_and_add_up() {
    let Some(python) = python("duckdb") else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ParquetWriter::new(File::create(file.path()).unwrap()).unwrap();
    let mut device = Device::new("many", Algorithm::EdDsa);
    let reading = |i: u64| {
        let value = Decimal::new(i.cast_signed() - 500, -3).unwrap();
        Reading::new(Quantity::new("t", "Cel"), value, Timestamp::from_millis(NOW.millis() + i))
    };
    let batch = verified(&mut device, &(0..1000).map(reading).collect::<Vec<_>>());
    let batches = 2 * GROUP_ROWS / 1000 + 1;
    for index in 0..batches {
        writer.push(index as u64, &batch).unwrap();
    }
    writer.finish().unwrap();
    let program = r#"
import sys, duckdb
ask = lambda sql: duckdb.execute(sql, [sys.argv[1]]).fetchall()
print(*ask("select count(*), sum(value), min(value), max(value), count(distinct log_index) from read_parquet(?)")[0])
groups = ask("select distinct row_group_id, row_group_num_rows, compression from parquet_metadata(?) order by 1")
print(*[f"{rows} {compression}" for _, rows, compression in groups], sep=", ")
"#;
    let rest = batches * 1000 - 2 * GROUP_ROWS;
    let sum = Decimal::new(-(batches as i64) * 500, -3).unwrap();
    assert_eq!(run(&python, program, file.path()), format!(
        "{} {sum}.000000000000 -0.500000000000 0.499000000000 {batches}\n65536 SNAPPY, 65536 SNAPPY, {rest} SNAPPY\n",
        batches * 1000,
    ).replace("00.5.", "00.5").replace(".5.0", ".50"));
}
