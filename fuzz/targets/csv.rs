#![no_main]
//! Tables: every row gives readings or says why not.

use depin_core::reading::Quantity;
use depin_data::formats::csv::{Table, TimeFormat};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let formats = [
        TimeFormat::UnixSeconds,
        TimeFormat::UnixMillis,
        TimeFormat::Rfc3339,
        TimeFormat::Local { east: -90 },
        TimeFormat::MonthFirst { east: 60 },
    ];
    for format in formats {
        let table = Table::new("t", format).column("v", Quantity::new("v", "Cel")).rounded(9);
        let whole = [b"t,v\n", bytes].concat();
        let rows = table.read(&*whole).expect("the header is there");
        for row in rows.map_while(Result::ok) {
            assert_eq!(row.readings.len() + row.leftovers.len(), 1);
        }
    }
});
