//! The story as a newcomer sees it.

use std::process::Command;

#[test]
fn the_story_is_told_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_drive")).output().expect("it starts");
    let story = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{complaints}");
    for line in
        ["there is nothing to leak", "not-fresh", "impossible-travel", "copied", "root recomputed"]
    {
        assert!(story.contains(line), "{line:?} is missing in\n{story}");
    }
    let fresh = |driver: &str| -> u32 {
        let row = story.lines().find(|line| line.contains(driver) && line.contains('┆'));
        let cells: Vec<_> = row.expect("a row of the table").split(['│', '┆']).collect();
        cells[3].trim().parse().expect("a number of fixes")
    };
    assert_eq!(
        fresh("as if before"),
        0,
        "a copy takes nothing, whatever times are signed:\n{story}"
    );
    assert_eq!(fresh("in Rome"), 0, "who teleports is not believed in between either:\n{story}");
    assert!(fresh("through the Alps") > 50, "{story}");
}
