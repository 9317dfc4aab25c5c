//! The story as a newcomer sees it.

use std::process::Command;

#[test]
fn the_story_is_told_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_device-identity")).output().expect("it starts");
    let story = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{complaints}");
    let lines = [
        "ten years on, offline: a Pebble did:io:0x",
        "the same chip under another key: the hardware has an identity in this network already",
        "an hour later: link 1 counts from",
        "the same answer again: the challenge was answered already",
        "the thief tries to take over: the device did not commit to this key",
        "the thief sends a reading: the signature does not match",
        "the device goes on: batch 1 of the log",
        "paid 1000 tokens;",
        "coming back with the same chip: the hardware has an identity",
    ];
    for line in lines {
        assert!(story.contains(line), "{line:?} is missing in\n{story}");
    }
}
