//! The task `scripts`: which writing system is this?

use std::collections::BTreeSet;

use anyhow::Result;

use super::fonts::Family;
use crate::download::Cache;
use crate::hash::Random;
use crate::packages::Package;
use crate::task::Task;
use crate::tree::{Picture, Split};

pub(super) const TASK: Task = Task {
    name: "scripts",
    packages,
    pictures,
};

const TRAIN_PER_CLASS: usize = 60;
const TEST_PER_CLASS: usize = 30;

/// A writing system, the class.
struct Script {
    class: &'static str,
    /// What fontsource calls its part of a font.
    subset: &'static str,
    /// Letters that no other script has in the same shape, and that stand by themselves.
    letters: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
}

impl Script {
    /// The families and how many pictures they give.
    fn sides(&self) -> [(Split, &'static [&'static str], usize); 2] {
        [
            (Split::Train, self.train, TRAIN_PER_CLASS),
            (Split::Test, self.test, TEST_PER_CLASS),
        ]
    }
}

const SCRIPTS: [Script; 13] = [
    Script {
        class: "arabic",
        subset: "arabic",
        letters: "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
        train: &[
            "amiri",
            "almarai",
            "aref-ruqaa",
            "lalezar",
            "reem-kufi",
            "noto-naskh-arabic",
        ],
        test: &["tajawal", "el-messiri", "lateef", "lemonada"],
    },
    Script {
        class: "bengali",
        subset: "bengali",
        letters: "অআইঈউঊএঐওঔকখগঘঙচছজঝঞটঠডঢণতথদধনপফবভমযরলশষসহ",
        train: &["noto-sans-bengali"],
        test: &["hind-siliguri"],
    },
    Script {
        class: "cyrillic",
        subset: "cyrillic",
        letters: "БДЖЗИЙЛУЦЧШЩЪЫЬЭЮЯбвджзийлцчшщъыьэюя",
        train: &[
            "alice",
            "bad-script",
            "philosopher",
            "pt-mono",
            "russo-one",
            "yeseva-one",
        ],
        test: &["neucha", "didact-gothic", "old-standard-tt", "lobster"],
    },
    Script {
        class: "devanagari",
        subset: "devanagari",
        letters: "अआइईउऊएऐओऔकखगघचछजझञटठडढणतथदधनपफबभमयरलवशषसह",
        train: &["modak", "teko", "rajdhani", "kalam", "khand"],
        test: &["yantramanav", "halant", "hind"],
    },
    Script {
        class: "greek",
        subset: "greek",
        letters: "ΓΔΘΛΞΠΣΨΩαβγδεζηθλμξπσφψω",
        train: &[
            "anonymous-pro",
            "cardo",
            "comfortaa",
            "press-start-2p",
            "fira-mono",
        ],
        test: &["gfs-didot", "ubuntu-mono", "didact-gothic"],
    },
    Script {
        class: "gujarati",
        subset: "gujarati",
        letters: "અઆઇઈઉઊએઐઓઔકખગઘચછજઝટઠડઢણતથદધનપફબભમયરલવશષસહળ",
        train: &["farsan", "shrikhand", "hind-vadodara"],
        test: &["rasa", "baloo-bhai-2"],
    },
    Script {
        class: "hangul",
        subset: "korean",
        letters: "가나다라마바사아자차카타파하고노도로모보소오조호구누두루무부수우주한국말글집문꽃별달산물불길",
        train: &["gugi", "poor-story"],
        test: &["black-han-sans", "nanum-pen-script"],
    },
    Script {
        class: "hebrew",
        subset: "hebrew",
        letters: "אבגדהזחטיכלמנסעפצקרשתםןףץך",
        train: &["amatic-sc", "suez-one", "cardo", "frank-ruhl-libre"],
        test: &["varela-round", "assistant", "heebo"],
    },
    Script {
        class: "kana",
        subset: "japanese",
        letters: "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをんアイウエオカキケコサシスセソタチツテトナヌネノヒフホマミムメモヤユヨラルレロワン",
        train: &["dotgothic16", "sawarabi-gothic", "mochiy-pop-one"],
        test: &["yusei-magic", "yomogi"],
    },
    Script {
        class: "khmer",
        subset: "khmer",
        letters: "កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអ",
        train: &["freehand", "noto-sans-khmer"],
        test: &["hanuman"],
    },
    Script {
        class: "latin",
        subset: "latin",
        letters: "DFGJLNQRSUVWZabdefghijklmnqrstz",
        train: &[
            "acme",
            "lustria",
            "domine",
            "courier-prime",
            "patrick-hand",
            "questrial",
        ],
        test: &["volkhov", "cantarell", "handlee"],
    },
    Script {
        class: "tamil",
        subset: "tamil",
        letters: "அஆஇஈஉஊஎஏஐஒஓகஙசஜஞடணதநனபமயரலளழவஷஸஹ",
        train: &["coiny", "noto-sans-tamil"],
        test: &["catamaran", "hind-madurai"],
    },
    Script {
        class: "thai",
        subset: "thai",
        letters: "กขคฆงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ",
        train: &["itim", "noto-sans-thai", "noto-serif-thai", "chakra-petch"],
        test: &["sriracha", "sarabun"],
    },
];

/// The families of all scripts, each once.
fn packages() -> Vec<&'static Package> {
    let ids: BTreeSet<_> = SCRIPTS
        .iter()
        .flat_map(|script| script.train.iter().chain(script.test))
        .collect();
    // A test makes sure that there are all.
    ids.into_iter()
        .filter_map(|id| Some(&Family::by_id(id).ok()?.package))
        .collect()
}

/// A class's pictures are shared out evenly among its families.
fn pictures(cache: &Cache) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for script in &SCRIPTS {
        for (split, families, count) in script.sides() {
            for (index, id) in families.iter().enumerate() {
                let typeface = Family::by_id(id)?.read(cache, script.subset)?;
                let own = (index..count).step_by(families.len());
                for number in own {
                    let text = text(script, id, number);
                    let suffix = format!("-{number:02}");
                    pictures.push(typeface.picture(&text, split, script.class, &suffix)?);
                }
            }
        }
    }
    Ok(pictures)
}

/// Two to four letters.
fn text(script: &Script, family: &str, number: usize) -> String {
    let letters: Vec<char> = script.letters.chars().collect();
    let mut random = Random::new(&format!("{} {family} {number}", script.class));
    let length = *random.choose(&[2, 3, 4]);
    (0..length).map(|_| random.choose(&letters)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_in_the_table_and_on_one_side() {
        for script in &SCRIPTS {
            for id in script.train.iter().chain(script.test) {
                Family::by_id(id).unwrap();
            }
            assert!(script.train.iter().all(|id| !script.test.contains(id)));
        }
        assert!(packages().len() > 40);
    }

    #[test]
    fn no_letter_is_in_two_scripts() {
        let letters: Vec<_> = SCRIPTS
            .iter()
            .flat_map(|script| script.letters.chars())
            .collect();
        let different: BTreeSet<_> = letters.iter().collect();
        assert_eq!(different.len(), letters.len());
    }

    #[test]
    fn texts_have_two_to_four_letters_of_their_script() {
        let script = &SCRIPTS[0];
        for number in 0..50 {
            let text = text(script, "amiri", number);
            assert!((2..=4).contains(&text.chars().count()), "{text}");
            assert!(text.chars().all(|letter| script.letters.contains(letter)));
        }
    }
}
