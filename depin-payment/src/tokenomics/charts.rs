//! The table of a simulation as SVG: supply, burn, income per device, payback.
//!
//! Only here numbers become floats, after everything was computed.

use std::fmt::Write as _;

use depin_core::Amount;

use super::Period;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top and bottom of the plot.
const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = HEIGHT - 40.0;
const TICKS: u32 = 5;
/// Distinct without colours too: lightness differs (after Okabe and Ito).
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

/// Supply at the end of each period, in tokens.
pub fn supply(table: &[Period]) -> String {
    chart("Supply, tokens", table, &[("supply", &|period| Some(tokens(period.supply)))])
}

/// What is minted, given back and burned in each period, in tokens.
pub fn flows(table: &[Period]) -> String {
    let lines: [Line<'_>; 3] = [
        ("minted", &|period| Some(tokens(period.minted))),
        ("burned", &|period| Some(tokens(period.burned))),
        ("reissued", &|period| Some(tokens(period.reissued))),
    ];
    chart("Minted and burned per period, tokens", table, &lines)
}

/// Income of one device in each period, in the fiat unit.
pub fn income(table: &[Period]) -> String {
    let fiat = |period: &Period| Some(period.income_fiat as f64 / 1e6);
    chart("Income per device and period, fiat", table, &[("income", &fiat)])
}

/// After how many periods a device has paid for itself; no line where it does not.
pub fn payback(table: &[Period]) -> String {
    let periods = |period: &Period| period.payback.map(|periods| periods as f64);
    chart("Payback of a device bought then, periods", table, &[("payback", &periods)])
}

/// A name and the value in a period, if there is one.
type Line<'a> = (&'a str, &'a dyn Fn(&Period) -> Option<f64>);

fn chart(title: &str, table: &[Period], lines: &[Line<'_>]) -> String {
    let values = || lines.iter().flat_map(|(_, value)| table.iter().filter_map(value));
    let highest = round_up(values().fold(0.0, f64::max));
    let last = table.len().saturating_sub(1).max(1) as f64;
    let x = |at: f64| LEFT + (RIGHT - LEFT) * at / last;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / highest;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{title}</text>\n"
    );
    for tick in 0..=TICKS {
        let part = f64::from(tick) / f64::from(TICKS);
        let (down, across) = (y(highest * part), x(last * part));
        let (value, period) = (short(highest * part), (last * part).round());
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {down:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{period}</text>",
            LEFT - 8.0,
            down + 4.0,
            BOTTOM + 20.0
        );
    }
    for (((name, value), colour), at) in lines.iter().zip(COLOURS).zip(0_u8..) {
        let mut path = String::new();
        let mut pen = 'M';
        for (period, at) in table.iter().zip(0_u32..) {
            match value(period) {
                Some(value) => {
                    let _ = write!(path, "{pen}{:.1} {:.1}", x(f64::from(at)), y(value));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        let right = RIGHT - 90.0 * f64::from(at);
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{right}\" y=\"38\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn tokens(amount: Amount) -> f64 {
    let limbs = amount.to_units().into_limbs();
    limbs.into_iter().rev().fold(0.0, |value, limb| value * 2f64.powi(64) + limb as f64) / 1e18
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// With k, M and G for thousands.
fn short(value: f64) -> String {
    let (divisor, unit) = match value {
        value if value >= 1e9 => (1e9, "G"),
        value if value >= 1e6 => (1e6, "M"),
        value if value >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = format!("{:.3}", value / divisor);
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}
