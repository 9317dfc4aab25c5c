//! Block times.

use depin_devnet::{Clock, Devnet, ErrorKind};
use serde_json::json;

use crate::common::{ask, repeatable};

#[test]
fn manual_time_moves_only_when_told() {
    let devnet = repeatable();
    devnet.mine(1);
    assert_eq!(devnet.timestamp(), 1_700_000_001);
    devnet.increase_time(3_600).unwrap();
    devnet.increase_time(400).unwrap();
    assert_eq!(devnet.timestamp(), 1_700_000_001, "shows with the next block");
    devnet.mine(2);
    assert_eq!(devnet.timestamp(), 1_700_004_003);
    devnet.set_next_block_timestamp(1_800_000_000).unwrap();
    devnet.mine(2);
    assert_eq!(devnet.timestamp(), 1_800_000_001);
}

#[test]
fn the_system_clock_can_be_moved_forward() {
    let devnet = Devnet::builder().at(5_000).build();
    devnet.increase_time(1_000_000).unwrap();
    devnet.mine(1);
    let moved = devnet.timestamp();
    assert!((1_005_000..1_006_000).contains(&moved));
    devnet.set_next_block_timestamp(9_000_000).unwrap();
    devnet.mine(3);
    assert!((9_000_002..9_001_000).contains(&devnet.timestamp()), "time goes on from there");
}

#[test]
fn time_never_goes_back_or_too_far() {
    let devnet = Devnet::builder().clock(Clock::Manual).at(100).build();
    for refused in [
        devnet.set_next_block_timestamp(100),
        devnet.set_next_block_timestamp(u64::MAX),
        devnet.increase_time(u64::MAX),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn time_moves_over_json_rpc() {
    let devnet = repeatable();
    assert_eq!(ask(&devnet, "evm_increaseTime", json!([60])).await.unwrap(), json!(60));
    assert_eq!(ask(&devnet, "evm_increaseTime", json!(["0x3c"])).await.unwrap(), json!(120));
    ask(&devnet, "evm_mine", json!([])).await.unwrap();
    assert_eq!(devnet.timestamp(), 1_700_000_121);
    ask(&devnet, "evm_setNextBlockTimestamp", json!([1_700_001_000])).await.unwrap();
    ask(&devnet, "evm_mine", json!([])).await.unwrap();
    assert_eq!(devnet.timestamp(), 1_700_001_000);
    ask(&devnet, "evm_mine", json!([{"timestamp": 1_700_002_000_u64, "blocks": 2}])).await.unwrap();
    assert_eq!((devnet.timestamp(), devnet.block_number()), (1_700_002_001, 4));
    ask(&devnet, "anvil_mine", json!(["0x3", "0xa"])).await.unwrap();
    assert_eq!((devnet.timestamp(), devnet.block_number()), (1_700_002_022, 7));
}
