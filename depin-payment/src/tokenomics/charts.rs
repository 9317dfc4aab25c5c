//! The table of a simulation as SVG: supply, burn, income per device, payback.
//!
//! Only here numbers become floats, after everything was computed.

use std::fmt::Write as _;

use depin_core::Amount;

use super::{Earning, Period, Rewarded};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top and bottom of the plot.
const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = HEIGHT - 56.0;
const TICKS: u32 = 5;
/// Distinct without colours too: lightness differs (after Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// Supply at the end of each period, in tokens.
pub fn supply(table: &[Period]) -> String {
    chart("Supply, tokens", table, &[("supply", &|period| Some(tokens(period.supply)))])
}

/// What is minted, given back and burned in each period, in tokens.
pub fn flows(table: &[Period]) -> String {
    let lines: [Line<'_, Period>; 3] = [
        ("minted", &|period| Some(tokens(period.minted))),
        ("burned", &|period| Some(tokens(period.burned))),
        ("reissued", &|period| Some(tokens(period.reissued))),
    ];
    chart("Minted and burned per period, tokens", table, &lines)
}

/// Income of one device in each period, in the fiat unit.
pub fn income(table: &[Period]) -> String {
    let fiat = |period: &Period| Some(fiat(period.income_fiat));
    chart("Income per device and period, fiat", table, &[("income", &fiat)])
}

/// After how many periods a device has paid for itself; no line where it does not.
pub fn payback(table: &[Period]) -> String {
    let periods = |period: &Period| period.payback.map(|periods| periods as f64);
    chart("Payback of a device bought then, periods", table, &[("payback", &periods)])
}

/// Income of one device of each kind in each period, in the fiat unit, under a
/// [reward policy](super::reward). `names` are those of the kinds, in their order.
pub fn income_by_kind(table: &[Rewarded], names: &[&str]) -> String {
    by_kind("Income per device and period, fiat", table, names, |kind| Some(fiat(kind.income_fiat)))
}

/// After how many periods a device of each kind has paid for itself, under a
/// [reward policy](super::reward); no line where it does not. `names` are those of the kinds, in their order.
pub fn payback_by_kind(table: &[Rewarded], names: &[&str]) -> String {
    let periods = |kind: &Earning| kind.payback.map(|periods| periods as f64);
    by_kind("Payback of a device bought then, periods", table, names, periods)
}

fn by_kind(
    title: &str,
    table: &[Rewarded],
    names: &[&str],
    value: impl Fn(&Earning) -> Option<f64> + Copy,
) -> String {
    let line = |at: usize| move |period: &Rewarded| period.kinds.get(at).and_then(value);
    let values: Vec<_> = (0..names.len()).map(line).collect();
    let lines: Vec<Line<'_, Rewarded>> =
        names.iter().zip(&values).map(|(name, value)| (*name, value as _)).collect();
    chart(title, table, &lines)
}

/// A name and the value in a period, if there is one.
type Line<'a, P> = (&'a str, &'a dyn Fn(&P) -> Option<f64>);

fn chart<P>(title: &str, table: &[P], lines: &[Line<'_, P>]) -> String {
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
    let (middle, below) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 42.0);
    let _ =
        writeln!(svg, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">period</text>");
    for (((name, value), colour), at) in lines.iter().zip(COLOURS.iter().cycle()).zip(0_u8..) {
        let name = escaped(name);
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

/// A name as text of XML.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn fiat(millionths: u64) -> f64 {
    millionths as f64 / 1e6
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
