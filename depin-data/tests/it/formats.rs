//! Readings from and to other formats.

#[cfg(feature = "formats")]
mod csv;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "formats")]
mod pebble;
#[cfg(feature = "formats")]
mod senml;
