//! `piggyback backbone list`.

use crate::common::piggyback;

/// Parameters and GFLOPs as torchvision publishes them with its weights.
const PUBLISHED: [(&str, u64, f64); 27] = [
    ("mobilenet_v2", 3_504_872, 0.301),
    ("resnet18", 11_689_512, 1.814),
    ("resnet34", 21_797_672, 3.664),
    ("resnet50", 25_557_032, 4.089),
    ("resnet101", 44_549_160, 7.801),
    ("resnet152", 60_192_808, 11.514),
    ("vgg11", 132_863_336, 7.609),
    ("vgg11_bn", 132_868_840, 7.609),
    ("vgg13", 133_047_848, 11.308),
    ("vgg13_bn", 133_053_736, 11.308),
    ("vgg16", 138_357_544, 15.470),
    ("vgg16_bn", 138_365_992, 15.470),
    ("vgg19", 143_667_240, 19.632),
    ("vgg19_bn", 143_678_248, 19.632),
    ("densenet121", 7_978_856, 2.834),
    ("densenet161", 28_681_000, 7.728),
    ("densenet169", 14_149_480, 3.360),
    ("densenet201", 20_013_928, 4.291),
    ("efficientnet_b0", 5_288_548, 0.386),
    ("efficientnet_b1", 7_794_184, 0.687),
    ("efficientnet_b2", 9_109_994, 1.088),
    ("efficientnet_b3", 12_233_232, 1.827),
    ("mobilenet_v3_small", 2_542_856, 0.057),
    ("mobilenet_v3_large", 5_483_032, 0.217),
    ("regnet_y_400mf", 4_344_144, 0.402),
    ("regnet_y_800mf", 6_432_512, 0.834),
    ("regnet_y_1_6gf", 11_202_430, 1.612),
];

#[test]
fn networks_have_the_published_sizes() {
    let listed = piggyback(&["backbone", "list", "--json"])
        .ends_with(0)
        .json();
    for (name, parameters, gflops) in PUBLISHED {
        let row = listed.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row["parameters"], parameters, "{name}");
        let listed = row["multiply_adds"].as_f64().unwrap() / 1e9;
        assert!((listed - gflops).abs() < 0.001, "{name}: {listed}");
    }
}

#[test]
fn the_table_is_for_people() {
    let run = piggyback(&["backbone", "list"]).ends_with(0);
    assert_eq!(run.stderr, "");
    insta::assert_snapshot!("backbone_list_table", run.stdout);
}
