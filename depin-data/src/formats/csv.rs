//! Tables with one row for each moment (RFC 4180), as loggers and spreadsheets write them.
//!
//! A [`Table`] says which column is the time and which columns are which quantities. Reading streams: one
//! row is in memory at a time, a row has at most [`MAX_ROW`] bytes, and a cell that is no number is told
//! with its row and column while the rest of the row is kept.

use std::io::{self, Read, Write};

use depin_core::{Error, ErrorKind, Reading, Result, Timestamp, reading::Quantity};

use super::{Leftover, Reason, number};

/// Most bytes of a row, quotes and line ends included.
pub const MAX_ROW: usize = 64 * 1024;
/// Most rows of a table after the header.
pub const MAX_ROWS: u64 = 100_000_000;

/// How a column tells the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeFormat {
    /// Seconds since the Unix epoch; what is finer than a millisecond is cut off.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
    /// `2022-03-18T04:33:00-07:00`; a blank may stand for the `T`.
    Rfc3339,
    /// `2022-01-02 00:01`, seconds optional, in a zone that lies this many minutes east of UTC.
    Local {
        /// Minutes east, negative for west; at most 14 hours.
        east: i16,
    },
    /// `1/31/2022 0:05`, seconds optional, month first, in a zone that lies this many minutes east of UTC.
    MonthFirst {
        /// Minutes east, negative for west; at most 14 hours.
        east: i16,
    },
}

/// Which columns are which quantities.
///
/// ```
/// use depin_core::{Decimal, Timestamp, reading::Quantity};
/// use depin_data::formats::{Reason, csv::{Table, TimeFormat}};
///
/// let text = "time (UTC),temperature (celsius)\n2016-02-15T00:00:00Z,4.929\n2016-02-15T00:30:00Z,NaN\n";
/// let table = Table::new("time (UTC)", TimeFormat::Rfc3339)
///     .column("temperature (celsius)", Quantity::new("temperature", "Cel"));
///
/// let rows = table.read(text.as_bytes())?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(rows[0].readings[0].value(), Decimal::parse("4.929")?);
/// assert_eq!(rows[1].leftovers[0].reason, Reason::Missing);
/// assert_eq!((rows[1].record, &*rows[1].leftovers[0].field), (1, "temperature (celsius)"));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    time: String,
    format: TimeFormat,
    columns: Vec<(String, Quantity)>,
    decimals: Option<u8>,
    delimiter: u8,
}

impl Table {
    /// A table whose column `time` tells the time.
    pub fn new(time: impl Into<String>, format: TimeFormat) -> Self {
        Self { time: time.into(), format, columns: Vec::new(), decimals: None, delimiter: b',' }
    }

    /// The column with this header holds this quantity. Other columns are not read.
    #[must_use]
    pub fn column(mut self, header: impl Into<String>, quantity: Quantity) -> Self {
        self.columns.push((header.into(), quantity));
        self
    }

    /// Rounds values half to even to so many decimals, for tables that were written from binary floats.
    ///
    /// Without it a value of more than 12 decimals is left over, because it would not be what was written.
    #[must_use]
    pub const fn rounded(mut self, decimals: u8) -> Self {
        self.decimals = Some(decimals);
        self
    }

    /// What stands between two cells; a comma if nothing else is said.
    #[must_use]
    pub const fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Reads the header and then gives the rows, one by one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a column is not in the header or stands there twice, or a quantity cannot
    /// stand in a batch; [`ErrorKind::Unavailable`] when the reader fails.
    pub fn read<R: Read>(&self, reader: R) -> Result<Rows<R>> {
        let bounded = Bounded { inner: reader, left: MAX_ROW };
        let mut csv = ::csv::ReaderBuilder::new();
        let mut csv = csv
            .delimiter(self.delimiter)
            .flexible(true)
            .buffer_capacity(BUFFER)
            .from_reader(bounded);
        let header = csv.byte_headers().map_err(unreadable)?.clone();
        let find = |name: &str| {
            let mut found = header.iter().enumerate().filter(|(_, cell)| *cell == name.as_bytes());
            match (found.next(), found.next()) {
                (Some((position, _)), None) => Ok(position),
                (None, _) => Err(Error::new(ErrorKind::Config, "the table has no such column")),
                _ => Err(Error::new(ErrorKind::Config, "two columns of the table have this name")),
            }
            .map_err(|error| error.with("column", name))
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for (name, quantity) in &self.columns {
            super::quantity(quantity.name(), quantity.unit()).map_err(|reason| {
                Error::new(ErrorKind::Config, format!("{reason}")).with("column", name)
            })?;
            columns.push((find(name)?, name.clone(), quantity.clone()));
        }
        let (time, width) = (find(&self.time)?, header.len());
        Ok(Rows { csv, table: self.clone(), time, columns, width, row: 0, done: false })
    }
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Position in the table, from 0; the header is not counted.
    pub record: u64,
    /// Its readings, in the order of [`Table::column`].
    pub readings: Vec<Reading>,
    /// The cells that are no readings, or the whole row if its time is none.
    pub leftovers: Vec<Leftover>,
}

/// The rows of a table, read one by one. Ends after the first error.
pub struct Rows<R> {
    csv: ::csv::Reader<Bounded<R>>,
    table: Table,
    time: usize,
    columns: Vec<(usize, String, Quantity)>,
    width: usize,
    row: u64,
    done: bool,
}

impl<R> std::fmt::Debug for Rows<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("table", &self.table).field("row", &self.row).finish()
    }
}

impl<R: Read> Rows<R> {
    fn row(&mut self) -> Result<Option<Row>> {
        let mut record = ::csv::ByteRecord::new();
        self.csv.get_mut().left = MAX_ROW;
        if !self.csv.read_byte_record(&mut record).map_err(unreadable)? {
            return Ok(None);
        }
        if self.row == MAX_ROWS {
            return Err(Error::new(
                ErrorKind::Limit,
                "a table has at most 100000000 rows; split it",
            ));
        }
        let mut row = Row { record: self.row, readings: Vec::new(), leftovers: Vec::new() };
        self.fill(&record, &mut row);
        self.row += 1;
        Ok(Some(row))
    }

    fn fill(&self, record: &::csv::ByteRecord, row: &mut Row) {
        let cell = |position: usize| std::str::from_utf8(record.get(position)?).ok().map(str::trim);
        let mut leave = |field: &str, value: &str, reason| {
            row.leftovers.push(Leftover::new(self.row, field, value, reason));
        };
        if record.len() != self.width {
            return leave("", &record.len().to_string(), Reason::Fields);
        }
        let Some(at) = cell(self.time).and_then(|text| time(text, self.table.format)) else {
            return leave(&self.table.time, cell(self.time).unwrap_or_default(), Reason::Time);
        };
        for (position, name, quantity) in &self.columns {
            let text = cell(*position);
            match text.ok_or(Reason::NotANumber).and_then(|text| value(text, self.table.decimals)) {
                Ok(value) => row.readings.push(Reading::new(quantity.clone(), value, at)),
                Err(reason) => leave(name, text.unwrap_or_default(), reason),
            }
        }
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = self.row().transpose();
        self.done = !matches!(row, Some(Ok(_)));
        row
    }
}

fn value(text: &str, decimals: Option<u8>) -> Result<depin_core::Decimal, Reason> {
    if ["", "nan", "na", "n/a", "null"].iter().any(|none| text.eq_ignore_ascii_case(none)) {
        return Err(Reason::Missing);
    }
    decimals.map_or_else(|| number::parse(text), |places| number::parse_rounded(text, places))
}

fn time(text: &str, format: TimeFormat) -> Option<Timestamp> {
    let rfc3339 = |text: &str| Timestamp::parse(text).ok();
    match format {
        TimeFormat::UnixSeconds => {
            millis(number::parse(text).ok()?.scaled().div_euclid(1_000_000_000))
        }
        TimeFormat::UnixMillis => {
            millis(number::parse(text).ok()?.scaled().div_euclid(10i128.pow(12)))
        }
        TimeFormat::Rfc3339 => rfc3339(&text.replacen(' ', "T", 1)),
        TimeFormat::Local { east } => {
            let (date, clock) = text.split_once([' ', 'T'])?;
            rfc3339(&format!("{date}T{}{}", with_seconds(clock)?, zone(east)?))
        }
        TimeFormat::MonthFirst { east } => {
            let (date, clock) = text.split_once(' ')?;
            let mut parts = date.split('/').map(|part| part.parse::<u16>().ok());
            let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
            let date = format!("{year:04}-{month:02}-{day:02}");
            rfc3339(&format!("{date}T{}{}", with_seconds(clock)?, zone(east)?))
        }
    }
}

fn millis(millis: i128) -> Option<Timestamp> {
    let within = u64::try_from(millis).ok().filter(|millis| i64::try_from(*millis).is_ok());
    within.map(Timestamp::from_millis)
}

/// `0:05` as `00:05:00`.
fn with_seconds(clock: &str) -> Option<String> {
    let (hour, rest) = clock.split_once(':')?;
    let seconds = if rest.contains(':') { "" } else { ":00" };
    Some(format!("{hour:0>2}:{rest}{seconds}"))
}

fn zone(east: i16) -> Option<String> {
    let (sign, minutes) = (if east < 0 { '-' } else { '+' }, east.unsigned_abs());
    (minutes <= 14 * 60).then(|| format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}

/// Bytes that the reader takes at once.
const BUFFER: usize = 8 * 1024;

/// Fails when one row would need more than its share, before that is in memory.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a row of the table is too long",
            ));
        }
        let room = buffer.len().min(self.left);
        let count = self.inner.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left -= count;
        Ok(count)
    }
}

fn unreadable(error: ::csv::Error) -> Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let why = "a row has more than 65536 bytes; is a quote never closed?";
            Error::new(ErrorKind::Limit, why).source(error)
        }
        ::csv::ErrorKind::Io(error) => Error::unavailable("the table cannot be read").source(error),
        kind => Error::new(ErrorKind::Malformed, format!("the table cannot be read: {kind:?}")),
    }
}

/// Writes readings as a table with the columns time (RFC 3339), name, unit and value.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::formats::csv::write;
///
/// let reading = Reading::new(Quantity::new("wind, gusts", "m/s"), Decimal::parse("3.50")?, Timestamp::EPOCH);
/// let mut table = Vec::new();
/// write(&mut table, &[reading])?;
/// assert_eq!(table, b"time,name,unit,value\r\n1970-01-01T00:00:00.000Z,\"wind, gusts\",m/s,3.5\r\n");
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the writer fails.
pub fn write<'a>(
    writer: impl Write,
    readings: impl IntoIterator<Item = &'a Reading>,
) -> Result<()> {
    let mut csv = ::csv::WriterBuilder::new();
    let mut csv = csv.terminator(::csv::Terminator::CRLF).from_writer(writer);
    let failed =
        |error: ::csv::Error| Error::unavailable("the table cannot be written").source(error);
    csv.write_record(["time", "name", "unit", "value"]).map_err(failed)?;
    for reading in readings {
        let quantity = reading.quantity();
        let (at, value) = (reading.at().to_string(), reading.value().to_string());
        csv.write_record([&at, quantity.name(), quantity.unit(), &value]).map_err(failed)?;
    }
    csv.flush().map_err(|error| Error::unavailable("the table cannot be written").source(error))
}
