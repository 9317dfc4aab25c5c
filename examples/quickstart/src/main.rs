//! The fifteen lines of the README.

use depin::{Address, EpochId, Network, Quantity, Reading, dec, tokens};
use depin::{data::quality::Bounds, hw::SimulatedPebble, payment::ProRata, presets};

#[tokio::main]
async fn main() -> depin::Result<()> {
    let network = Network::builder(presets::devnet().await?) // every slot filled, chain in the process
        .name("climate")
        .check(Bounds::new("temperature", "Cel", dec(-60)..=dec(60)))
        .rewards(ProRata::per_epoch(tokens(1_000)))
        .build()
        .await?;
    let device = network.enroll(SimulatedPebble::new(1), Address::repeat_byte(0xa1)).await?;
    let reading = Reading::new(Quantity::new("temperature", "Cel"), dec(21), network.clock().now());
    device.send(&[reading]).await?; // signed, verified, durable: the receipt proves it
    let epoch = network.close_epoch(EpochId::new(0)).await?; // score, share, root on chain
    let paid = network.claim(device.did()).await?;
    let audit = network.audit(epoch.id()).await?; // recomputed from the signed bytes
    println!("paid {paid} tokens; {audit}");
    Ok(())
}
