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
        "the same chip under another key: conflict",
        "an hour later: link 1 of the delegation chain",
        "the same answer again:",
        "the thief tries to take over: rejected",
        "the thief sends a reading: rejected",
        "the device goes on: batch 1 of the log",
        "paid 1000 tokens;",
        "coming back with the same chip: conflict",
    ];
    for line in lines {
        assert!(story.contains(line), "{line:?} is missing in\n{story}");
    }
}
