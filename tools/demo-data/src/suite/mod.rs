//! The suite: further picture tasks, small enough to be learned on two cores, for choosing the
//! settings of training on. Nothing that a test picture is made from is in the training pictures:
//! no font's family, no set of icons.

mod fashion;
mod font_classes;
mod fonts;
mod icons;
mod letters;
mod scripts;

use super::task::Task;

pub(super) const TASKS: [Task; 7] = [
    fashion::FEW,
    letters::LETTERS,
    letters::DIGITS,
    font_classes::TASK,
    icons::TASK,
    scripts::TASK,
    fashion::WHOLE,
];
