//! The registry, one row for each symbol.

/// `base = value * numerator / denominator + offset / 100`.
pub(super) struct Row {
    pub(super) symbol: &'static str,
    pub(super) base: &'static str,
    pub(super) numerator: u64,
    pub(super) denominator: u64,
    pub(super) offset: i32,
    pub(super) secondary: bool,
}

const fn base(symbol: &'static str) -> Row {
    scaled(symbol, symbol, 1, 1)
}

const fn scaled(symbol: &'static str, base: &'static str, numerator: u64, denominator: u64) -> Row {
    Row { symbol, base, numerator, denominator, offset: 0, secondary: false }
}

const fn second(symbol: &'static str, base: &'static str, numerator: u64, denominator: u64) -> Row {
    Row { symbol, base, numerator, denominator, offset: 0, secondary: true }
}

#[rustfmt::skip]
pub(super) static UNITS: &[Row] = &[
    // RFC 8428 section 12.1 and RFC 8798 section 2.
    base("m"), base("kg"), base("s"), base("A"), base("K"), base("cd"), base("mol"), base("Hz"),
    base("rad"), base("sr"), base("N"), base("Pa"), base("J"), base("W"), base("C"), base("V"), base("F"),
    base("Ohm"), base("S"), base("Wb"), base("T"), base("H"), base("lm"), base("lx"), base("Bq"),
    base("Gy"), base("Sv"), base("kat"), base("m2"), base("m3"), base("m/s"), base("m/s2"), base("m3/s"),
    base("W/m2"), base("cd/m2"), base("bit"), base("bit/s"), base("lat"), base("lon"), base("pH"),
    base("dB"), base("dBW"), base("count"), base("/"), base("%RH"), base("%EL"), base("EL"), base("1/s"),
    base("S/m"), base("B"), base("VA"), base("VAs"), base("var"), base("vars"), base("J/m"), base("kg/m3"),
    base("deg"), base("Bspl"), base("beats"),
    // Registered since: ISO 7027-1.
    base("NTU"),
    // In the registry beside an equivalent that is preferred.
    scaled("g", "kg", 1, 1000), Row { offset: 27_315, ..scaled("Cel", "K", 1, 1) },
    scaled("l", "m3", 1, 1000), scaled("l/s", "m3/s", 1, 1000), scaled("%", "/", 1, 1),
    scaled("1/min", "1/s", 1, 60), scaled("beat/min", "1/s", 1, 60),
    // RFC 8798 section 3.
    second("ms", "s", 1, 1000), second("min", "s", 60, 1), second("h", "s", 3600, 1),
    second("MHz", "Hz", 1_000_000, 1), second("kW", "W", 1000, 1), second("kVA", "VA", 1000, 1),
    second("kvar", "var", 1000, 1), second("Ah", "C", 3600, 1), second("Wh", "J", 3600, 1),
    second("kWh", "J", 3_600_000, 1), second("varh", "vars", 3600, 1),
    second("kvarh", "vars", 3_600_000, 1), second("kVAh", "VAs", 3_600_000, 1),
    second("Wh/km", "J/m", 18, 5), second("KiB", "B", 1024, 1), second("GB", "B", 1_000_000_000, 1),
    second("Mbit/s", "bit/s", 1_000_000, 1), second("B/s", "bit/s", 8, 1),
    second("MB/s", "bit/s", 8_000_000, 1), second("mV", "V", 1, 1000), second("mA", "A", 1, 1000),
    Row { offset: -3000, ..second("dBm", "dBW", 1, 1) }, second("ug/m3", "kg/m3", 1, 1_000_000_000),
    second("mm/h", "m/s", 1, 3_600_000), second("m/h", "m/s", 1, 3600), second("ppm", "/", 1, 1_000_000),
    second("/100", "/", 1, 100), second("/1000", "/", 1, 1000), second("hPa", "Pa", 100, 1),
    second("mm", "m", 1, 1000), second("cm", "m", 1, 100), second("km", "m", 1000, 1),
    second("km/h", "m/s", 5, 18),
    // Registered since.
    second("ppb", "/", 1, 1_000_000_000), second("ppt", "/", 1, 1_000_000_000_000), second("VAh", "VAs", 3600, 1),
    second("mg/l", "kg/m3", 1, 1000), second("ug/l", "kg/m3", 1, 1_000_000), second("g/l", "kg/m3", 1, 1),
];
