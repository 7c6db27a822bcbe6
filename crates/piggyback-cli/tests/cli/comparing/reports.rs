//! What the report shows, by what was compared.

use std::fs;
use std::path::Path;

use super::{compare, comparison, out, read, whole};

#[test]
fn a_network_that_has_to_be_pretrained_is_a_unit_too() {
    let folder = comparison(|plan| {
        let data = plan.split("[[data]]").nth(1).unwrap();
        let data = data
            .split("path = \"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let start = plan.find("[[backbone]]").unwrap();
        let end = plan.find("[[data]]").unwrap();
        let networks: String = [("trained", 1), ("random", 0)]
            .map(|(name, epochs)| {
                format!(
                    "[[backbone]]\nname = \"{name}\"\npretrain = {{ arch = \"resnet18\", data = \"{data}\", \
                     settings = {{ epochs = {epochs}, image-size = 32, batch-size = 4 }} }}\n\n"
                )
            })
            .concat();
        let plan = format!("{}{networks}{}", &plan[..start], &plan[end..]);
        let methods = plan.find("[[method]]").unwrap();
        let piggyback = plan.rfind("[[method]]").unwrap();
        format!("{}{}", &plan[..methods], &plan[piggyback..])
            .replace("seeds = [0, 1]", "seeds = [0]")
    });
    compare(&folder, &[]).ends_with(0);
    let report = read(&out(&folder).join("report.md"));
    assert!(
        report.contains("Backbones pretrained for this comparison"),
        "{report}"
    );
    assert!(
        report.contains("none: random weights | – | – | 0 |"),
        "{report}"
    );
    let page = read(&out(&folder).join("report.html"));
    assert!(page.contains("resnet18 with different initial weights"));
}

/// Every kind of method: one that learns all data sets at once, one that learns them in turn, one that
/// makes a network of each.
#[test]
fn methods_are_compared_whatever_they_leave() {
    let folder = comparison(|plan| {
        let methods = plan.find("[[method]]").unwrap();
        let mut plan = plan[..methods].replace(
            "seeds = [0, 1]",
            "seeds = [0]\norders = [\"forward\", \"reverse\"]",
        );
        for (label, method, settings) in [
            ("PackNet", "packnet", "retrain-epochs = 1"),
            ("Joint", "joint", ""),
            ("Individual", "individual", ""),
        ] {
            plan.push_str(&format!(
                "[[method]]\nlabel = \"{label}\"\nmethod = \"{method}\"\nsettings = {{ {settings} }}\n\n"
            ));
        }
        plan
    });
    let run = compare(&folder, &["--json"]).ends_with(0);
    assert_eq!(run.json()[0]["units"], 5);
    let lines = read(&out(&folder).join("results.jsonl"));
    let records: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |method: &str| -> Vec<&serde_json::Value> {
        let is_of = |record: &&serde_json::Value| record["method"] == method;
        records.iter().filter(is_of).collect()
    };
    let orders: Vec<Vec<&str>> = of("packnet")
        .into_iter()
        .map(|record| {
            let tasks = record["tasks"].as_array().unwrap();
            tasks
                .iter()
                .map(|task| task["data"].as_str().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(orders, [["hues", "tints"], ["tints", "hues"]]);
    for record in of("packnet") {
        // Adding a task never changes what earlier ones answer.
        assert_eq!(record["again"][0]["identical"], true);
        assert_eq!(record["tasks"][0]["settings"]["last"], false);
    }
    assert_eq!(of("joint")[0]["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(of("individual").len(), 2);
    let size = |method: &str| of(method)[0]["paper_bytes"].as_u64().unwrap();
    assert_eq!(size("joint"), size("individual"));
    let report = read(&out(&folder).join("report.md"));
    for part in [
        "PackNet, forward",
        "PackNet, reverse",
        "Decathlon score",
        "| 500 |",
        "Top-1 error by the order in which tasks were learned",
        "## Order and forgetting",
        "The curve of Joint is the mean over data sets",
        "| Joint | – | – | ",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
}

/// A report of the results of [`whole`] as `change` leaves them.
fn report_of(change: impl Fn(&mut serde_json::Value)) -> String {
    let folder = comparison(|plan| plan);
    let lines = read(&out(whole()).join("results.jsonl"));
    let lines = lines.lines().map(|line| {
        let mut record = serde_json::from_str(line).unwrap();
        change(&mut record);
        format!("{record}\n")
    });
    fs::create_dir_all(out(&folder)).unwrap();
    fs::write(
        out(&folder).join("results.jsonl"),
        lines.collect::<String>(),
    )
    .unwrap();
    let run = compare(&folder, &[]).ends_with(0);
    assert!(run.stderr.contains("0 of 10 units to do"), "{}", run.stderr);
    read(&out(&folder).join("report.md"))
}

#[test]
fn results_without_validation_errors_are_still_read() {
    let caption = "Top-1 error on validation images, %";
    assert!(report_of(|_| ()).contains(caption));
    let report = report_of(|record| {
        for task in record["tasks"].as_array_mut().unwrap() {
            task.as_object_mut().unwrap().remove("validation_error");
        }
    });
    assert!(!report.contains(caption), "{report}");
    assert!(report.contains("Top-1 error on test images, %"), "{report}");
}

#[test]
fn one_order_is_not_compared_with_itself() {
    let report = read(&out(whole()).join("report.md"));
    assert!(report.contains("## Forgetting"), "{report}");
    let folder = comparison(|plan| {
        let methods = plan.find("[[method]]").unwrap();
        let plan = plan[..methods].replace("epochs = 2", "epochs = 1");
        let settings = "settings = { retrain-epochs = 1 }\nseeds = [0]";
        format!("{plan}[[method]]\nlabel = \"PackNet\"\nmethod = \"packnet\"\n{settings}\n")
    });
    compare(&folder, &[]).ends_with(0);
    let report = read(&out(&folder).join("report.md"));
    assert!(report.contains("| PackNet, forward | hues |"), "{report}");
    assert!(report.contains("## Forgetting"), "{report}");
    assert!(!report.contains("by the order"), "{report}");
}

/// A page in a real browser: what it says on its console, and whom it asks for more.
fn browse(browser: &std::ffi::OsStr, page: &Path) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("net.json");
    let output = std::process::Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(dom.contains("What was compared"), "{dom}");
    let said = String::from_utf8_lossy(&output.stderr);
    let console = said
        .lines()
        .filter(|line| line.contains(":CONSOLE:"))
        .map(str::to_owned);
    let asked = read(&log);
    // A browser asks its maker for news whatever it shows.
    let makers = ["google.com", "googleapis.com", "gvt1.com", "gvt2.com"];
    let asked = asked.split("\"url\":\"").skip(1).filter_map(|rest| {
        let url = rest.split('"').next()?;
        let host = url.split_once("://")?.1.split(['/', ':']).next()?;
        (url.starts_with("http") && !makers.iter().any(|maker| host.ends_with(maker)))
            .then(|| url.to_owned())
    });
    (console.collect(), asked.collect())
}

#[test]
#[ignore = "needs Chromium: cargo xtask test --peers"]
fn peer_browser_shows_the_report_and_needs_nothing_else() {
    let browser = piggyback_testing::peer_chromium();
    let page = out(whole()).join("report.html");
    assert_eq!(browse(&browser, &page), (Vec::new(), Vec::new()));

    // What would be found if there were something.
    let folder = tempfile::tempdir().unwrap();
    let spoilt = folder.path().join("spoilt.html");
    let more = "<img src=\"http://images.test/a.png\"><script>console.error('bad')</script></main>";
    fs::write(&spoilt, read(&page).replace("</main>", more)).unwrap();
    let (console, asked) = browse(&browser, &spoilt);
    assert!(
        console.iter().any(|line| line.contains("bad")),
        "{console:?}"
    );
    assert!(
        asked.iter().any(|url| url.contains("images.test")),
        "{asked:?}"
    );
}
