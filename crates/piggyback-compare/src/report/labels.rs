//! Where the names of a scatter plot's points stand: clear of lines, marks and each other.

use piggyback::plot::svg::Anchor;

/// Left, top, width and height.
pub(super) type Area = [f64; 4];

/// Height of a name, pixels.
const HEIGHT: f64 = 14.0;
/// Half the side of a square that covers a mark, and the radius of a circle that does, pixels.
const MARK: f64 = 7.0;
const AROUND: f64 = 10.0;
/// How far from its point a name may stand, pixels; the first that is free is taken.
const DISTANCES: [f64; 15] = [
    10.0, 14.0, 18.0, 22.0, 28.0, 40.0, 54.0, 70.0, 90.0, 115.0, 145.0, 180.0, 225.0, 280.0, 350.0,
];
/// Up to here a name needs no line to its point, pixels.
const BESIDE: f64 = 18.0;
/// Directions from a point in sixteenths of a turn from the right downwards, the best first.
const DIRECTIONS: [i32; 16] = [0, 8, 12, 4, 14, 2, 10, 6, 15, 1, 9, 7, 13, 11, 3, 5];

/// What names must keep clear of.
pub(super) struct Obstacles<'a> {
    /// The points themselves.
    pub(super) points: &'a [[f64; 2]],
    /// The corners of a line.
    pub(super) line: &'a [[f64; 2]],
    /// What names may not leave.
    pub(super) within: Area,
}

/// Where a name stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) anchor: Anchor,
    /// Where the text is anchored, on its base line.
    pub(super) at: [f64; 2],
    /// What it covers.
    pub(super) area: Area,
    /// A line from its point, unless it is right beside it.
    pub(super) leader: Option<[[f64; 2]; 2]>,
}

/// A place for each point's name; `widths` are those of the names. Only where there is no room at
/// all do names touch what they should not.
pub(super) fn place(obstacles: &Obstacles<'_>, widths: &[f64]) -> Vec<Place> {
    let mut order: Vec<usize> = (0..obstacles.points.len()).collect();
    let mut best = in_order(obstacles, widths, &order, 0);
    let mut last = best.1.clone();
    // Whose name found no room chooses first in the next try, and all begin with other directions.
    for turn in 1..=2 * DIRECTIONS.len() {
        let Some(at) = order.iter().position(|&point| last[point] > 0) else {
            break;
        };
        order[..=at].rotate_right(1);
        let tried = in_order(obstacles, widths, &order, turn);
        last.clone_from(&tried.1);
        if tried.1.iter().sum::<usize>() < best.1.iter().sum() {
            best = tried;
        }
    }
    best.0
}

/// Places chosen one after the other, and how much is in the way of each. `turn` says how many of
/// the best directions are tried last.
fn in_order(
    obstacles: &Obstacles<'_>,
    widths: &[f64],
    order: &[usize],
    turn: usize,
) -> (Vec<Place>, Vec<usize>) {
    let mut places: Vec<Option<Place>> = vec![None; order.len()];
    let mut conflicts = vec![0; order.len()];
    for &point in order {
        let taken: Vec<Place> = places.iter().flatten().copied().collect();
        let mut best: Option<(usize, Place)> = None;
        for candidate in candidates(obstacles.points[point], widths[point], turn) {
            let found = obstacles.conflicts(point, &candidate, &taken);
            if best.is_none_or(|(least, _)| found < least) {
                best = Some((found, candidate));
            }
            if found == 0 {
                break;
            }
        }
        if let Some((found, place)) = best {
            conflicts[point] = found;
            places[point] = Some(place);
        }
    }
    (places.into_iter().flatten().collect(), conflicts)
}

fn candidates([px, py]: [f64; 2], width: f64, turn: usize) -> impl Iterator<Item = Place> {
    let all = DISTANCES.into_iter().flat_map(move |distance| {
        let directions = DIRECTIONS.into_iter().cycle().skip(turn % DIRECTIONS.len());
        let directions = directions.take(DIRECTIONS.len());
        directions.map(move |direction| (distance, direction))
    });
    all.map(move |(distance, direction)| {
        let (sin, cos) = (f64::from(direction) * std::f64::consts::TAU / 16.0).sin_cos();
        let end = [px + distance * cos, py + distance * sin];
        let (anchor, start) = if cos > 0.3 {
            (Anchor::Start, end[0])
        } else if cos < -0.3 {
            (Anchor::End, end[0] - width)
        } else {
            (Anchor::Middle, end[0] - width / 2.0)
        };
        let middle = end[1] + sin * HEIGHT / 2.0;
        let begin = [px + AROUND * cos, py + AROUND * sin];
        Place {
            anchor,
            at: [end[0], middle + 4.0],
            area: [start, middle - HEIGHT / 2.0, width, HEIGHT],
            leader: (distance > BESIDE).then_some([begin, end]),
        }
    })
}

impl Obstacles<'_> {
    /// How many things `place` of a point's name would touch.
    fn conflicts(&self, point: usize, place: &Place, taken: &[Place]) -> usize {
        let outside = !holds(self.within, place.area);
        let on_line = self.line.windows(2);
        let on_line = on_line.filter(|ends| crosses([ends[0], ends[1]], place.area));
        let marks = (self.points.iter().enumerate()).filter(|(other, mark)| {
            let mark = [mark[0] - MARK, mark[1] - MARK, 2.0 * MARK, 2.0 * MARK];
            let led_over = |leader| *other != point && crosses(leader, mark);
            overlap(place.area, mark) || place.leader.is_some_and(led_over)
        });
        let names = taken.iter().filter(|other| {
            overlap(place.area, other.area)
                || place.leader.is_some_and(|own| crosses(own, other.area))
                || (other.leader).is_some_and(|theirs| crosses(theirs, place.area))
        });
        // Outside nothing could be read at all.
        1000 * usize::from(outside) + on_line.count() + marks.count() + names.count()
    }
}

fn holds(outer: Area, inner: Area) -> bool {
    inner[0] >= outer[0]
        && inner[1] >= outer[1]
        && inner[0] + inner[2] <= outer[0] + outer[2]
        && inner[1] + inner[3] <= outer[1] + outer[3]
}

fn overlap(a: Area, b: Area) -> bool {
    a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3]
}

/// Whether a line between two points passes through the inside of an area.
fn crosses([from, to]: [[f64; 2]; 2], area: Area) -> bool {
    // The part of the line, from 0 to 1, that is between both pairs of sides (Liang and Barsky).
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        let along = to[axis] - from[axis];
        let (low, high) = (
            area[axis] - from[axis],
            area[axis] + area[axis + 2] - from[axis],
        );
        if along == 0.0 {
            if low >= 0.0 || high <= 0.0 {
                return false;
            }
            continue;
        }
        let (first, last) = (low / along, high / along);
        enters = enters.max(first.min(last));
        leaves = leaves.min(first.max(last));
    }
    enters < leaves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WITHIN: Area = [0.0, 0.0, 900.0, 340.0];

    /// Asserts that no name touches a line, a mark or another name, and that each is inside.
    fn assert_clear(points: &[[f64; 2]], line: &[[f64; 2]], widths: &[f64]) {
        let obstacles = Obstacles {
            points,
            line,
            within: WITHIN,
        };
        let places = place(&obstacles, widths);
        assert_eq!(places.len(), points.len());
        for (index, place) in places.iter().enumerate() {
            assert!(holds(WITHIN, place.area), "{place:?}");
            for ends in line.windows(2) {
                // Against the definition, in small steps.
                for step in 0..=2000 {
                    let share = f64::from(step) / 2000.0;
                    let at =
                        [0, 1].map(|axis| ends[0][axis] + share * (ends[1][axis] - ends[0][axis]));
                    let [left, top, width, height] = place.area;
                    let inside = at[0] > left + 0.1
                        && at[0] < left + width - 0.1
                        && at[1] > top + 0.1
                        && at[1] < top + height - 0.1;
                    assert!(!inside, "{place:?} is on {ends:?}");
                }
            }
            for [x, y] in points {
                let mark = [x - 6.0, y - 6.0, 12.0, 12.0];
                assert!(!overlap(place.area, mark), "{place:?} is on {x} {y}");
            }
            for other in &places[index + 1..] {
                assert!(!overlap(place.area, other.area), "{place:?} {other:?}");
            }
        }
    }

    #[test]
    fn names_keep_clear_of_a_level_line_through_their_points() {
        // As the demo's methods lie: three on a line that hardly falls, two above it.
        let points = [
            [166.0, 8.0],
            [92.0, 110.0],
            [225.0, 130.0],
            [40.0, 131.0],
            [640.0, 135.0],
        ];
        let line = [points[3], points[4]];
        assert_clear(&points, &line, &[95.0, 105.0, 60.0, 40.0, 65.0]);
        // And where points lie on each other.
        assert_clear(
            &[[50.0, 300.0]; 4],
            &[[50.0, 300.0], [800.0, 300.0]],
            &[80.0; 4],
        );
    }

    #[test]
    fn a_line_that_passes_by_does_not_cross() {
        let area = [10.0, 10.0, 20.0, 10.0];
        assert!(crosses([[0.0, 0.0], [40.0, 30.0]], area));
        assert!(crosses([[20.0, 0.0], [20.0, 40.0]], area));
        assert!(crosses([[15.0, 15.0], [16.0, 15.0]], area), "within");
        assert!(!crosses([[0.0, 0.0], [9.0, 30.0]], area));
        assert!(!crosses([[0.0, 0.0], [9.0, 9.0]], area), "ends before");
        assert!(
            !crosses([[0.0, 20.0], [40.0, 20.0]], area),
            "along its edge"
        );
    }

    #[test]
    fn without_room_every_name_still_has_a_place() {
        let obstacles = Obstacles {
            points: &[[10.0, 10.0]; 9],
            line: &[],
            within: [0.0, 0.0, 60.0, 30.0],
        };
        assert_eq!(place(&obstacles, &[50.0; 9]).len(), 9);
    }

    proptest! {
        #[test]
        fn names_keep_clear_wherever_points_lie(
            points in prop::collection::vec(([20.0..860.0, 20.0..320.0], 15.0..150.0), 1..16),
        ) {
            let (points, widths): (Vec<[f64; 2]>, Vec<f64>) = points.into_iter().unzip();
            let mut line: Vec<[f64; 2]> = Vec::new();
            let mut sorted = points.clone();
            sorted.sort_by(|a, b| a[0].total_cmp(&b[0]));
            for point in sorted {
                if line.last().is_none_or(|last| point[1] > last[1]) {
                    line.push(point);
                }
            }
            assert_clear(&points, &line, &widths);
        }
    }
}
