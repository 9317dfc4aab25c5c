//! Verified readings as Parquet, for DuckDB, Spark, pandas and whatever else reads columns.
//!
//! One row for each reading, with where it stands in the log, so that a figure in a report leads back to
//! signed bytes. Values are decimals of scale 12: a sum in the engine is the sum of what was signed.
//!
//! ```text
//! device     STRING             DID of the device
//! log_index  UINT_64            position of the batch in the log
//! batch      32 bytes           hash of the signed bytes
//! sequence   UINT_64            position of the batch in the device's chain
//! reading    INT32              position of the reading in the batch
//! time       TIMESTAMP(MILLIS)  by the device's clock, UTC
//! quantity   STRING             such as temperature
//! unit       STRING             such as Cel
//! value      DECIMAL(38, 12)    exact: a decimal's exponents are -12..=6 and its digits 64 bits
//! ```

use std::{fmt, io::Write, mem, sync::Arc};

use depin_core::{Batch, Error, ErrorKind, Result, Timestamp, Verified};
use parquet::{
    basic::Compression,
    data_type::{
        ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
        Int64Type,
    },
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

/// Rows that are in memory at once, and in one row group of the file.
pub const GROUP_ROWS: usize = 65_536;

const SCHEMA: &str = "message readings {
    REQUIRED BYTE_ARRAY device (STRING);
    REQUIRED INT64 log_index (INTEGER(64, false));
    REQUIRED FIXED_LEN_BYTE_ARRAY(32) batch;
    REQUIRED INT64 sequence (INTEGER(64, false));
    REQUIRED INT32 reading;
    REQUIRED INT64 time (TIMESTAMP(MILLIS, true));
    REQUIRED BYTE_ARRAY quantity (STRING);
    REQUIRED BYTE_ARRAY unit (STRING);
    REQUIRED FIXED_LEN_BYTE_ARRAY(16) value (DECIMAL(38, 12));
}";

/// Writes verified batches as one Parquet file, dictionary encoded and compressed with Snappy.
///
/// Memory stays flat: a row group goes out whenever it is full, and only its statistics are kept for the
/// footer. A file that was not [finished](Self::finish) has no footer and is no Parquet file.
///
/// ```
/// use depin_core::{Algorithm, B256, Decimal, NetworkId, Reading, Sequence, Signer, SoftwareKey,
///     Timestamp, Unverified, reading::Quantity};
/// use depin_data::{batch::{BatchVerifier, seal}, formats::parquet::ParquetWriter};
///
/// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
/// let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::parse("4.9")?, Timestamp::from_secs(60));
/// let sealed = seal(&key, &"did:example:a".parse()?, &network, Sequence::new(0), B256::ZERO, &[reading])?;
/// let batch = Unverified::new(sealed).verify(&BatchVerifier::new(&network, key.public_key()))?;
///
/// let mut writer = ParquetWriter::new(Vec::new())?;
/// writer.push(0, &batch)?;
/// let file = writer.finish()?;
/// assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
/// # Ok::<(), depin_data::Error>(())
/// ```
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Rows,
}

impl<W: Write + Send> fmt::Debug for ParquetWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetWriter").field("waiting", &self.rows.reading.len()).finish()
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the writer fails.
    pub fn new(writer: W) -> Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("depin-data ", env!("CARGO_PKG_VERSION")).into());
        let properties = Arc::new(properties.build());
        let file = SerializedFileWriter::new(writer, Arc::new(schema), properties);
        Ok(Self { file: file.map_err(failed)?, rows: Rows::default() })
    }

    /// Adds the readings of a batch that stands at `index` in the log.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] for a time that Parquet has no number for, and nothing of the batch is added.
    /// [`ErrorKind::Unavailable`] when the writer fails; the file is then lost.
    pub fn push(&mut self, index: u64, batch: &Verified<Batch>) -> Result<()> {
        let times = batch.readings.iter().map(|reading| moment(reading.at()));
        let times = times.collect::<Result<Vec<_>>>()?;
        let (device, hash) = (text(batch.device.as_str()), fixed(batch.hash.as_slice()));
        // The schema says that these are unsigned; Parquet writes them as the same bits.
        let (index, sequence) = (index.cast_signed(), batch.sequence.value().cast_signed());
        for ((position, reading), time) in (0..).zip(&batch.readings).zip(times) {
            let rows = &mut self.rows;
            rows.device.push(device.clone());
            rows.log_index.push(index);
            rows.batch.push(hash.clone());
            rows.sequence.push(sequence);
            rows.reading.push(position);
            rows.time.push(time);
            rows.quantity.push(text(reading.quantity().name()));
            rows.unit.push(text(reading.quantity().unit()));
            rows.value.push(fixed(&reading.value().scaled().to_be_bytes()));
            if rows.reading.len() == GROUP_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the footer, and gives the writer back.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the writer fails.
    pub fn finish(mut self) -> Result<W> {
        if !self.rows.reading.is_empty() {
            self.flush()?;
        }
        self.file.into_inner().map_err(failed)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = mem::take(&mut self.rows);
        self.file.next_row_group().and_then(|group| rows.write(group)).map_err(failed)
    }
}

/// A row group, column by column.
#[derive(Default)]
struct Rows {
    device: Vec<ByteArray>,
    log_index: Vec<i64>,
    batch: Vec<FixedLenByteArray>,
    sequence: Vec<i64>,
    reading: Vec<i32>,
    time: Vec<i64>,
    quantity: Vec<ByteArray>,
    unit: Vec<ByteArray>,
    value: Vec<FixedLenByteArray>,
}

impl Rows {
    fn write<W: Write + Send>(
        self,
        mut group: SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        column::<ByteArrayType, W>(&mut group, &self.device)?;
        column::<Int64Type, W>(&mut group, &self.log_index)?;
        column::<FixedLenByteArrayType, W>(&mut group, &self.batch)?;
        column::<Int64Type, W>(&mut group, &self.sequence)?;
        column::<Int32Type, W>(&mut group, &self.reading)?;
        column::<Int64Type, W>(&mut group, &self.time)?;
        column::<ByteArrayType, W>(&mut group, &self.quantity)?;
        column::<ByteArrayType, W>(&mut group, &self.unit)?;
        column::<FixedLenByteArrayType, W>(&mut group, &self.value)?;
        group.close().map(drop)
    }
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns".into()));
    };
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn text(text: &str) -> ByteArray {
    text.as_bytes().to_vec().into()
}

fn fixed(bytes: &[u8]) -> FixedLenByteArray {
    ByteArray::from(bytes.to_vec()).into()
}

fn moment(at: Timestamp) -> Result<i64> {
    i64::try_from(at.millis()).map_err(|_| {
        let why = "a reading's time is past what parquet can write; leave its batch out";
        Error::new(ErrorKind::Overflow, why).with("time", at.millis())
    })
}

fn failed(error: ParquetError) -> Error {
    Error::unavailable("the parquet file cannot be written").source(error)
}
