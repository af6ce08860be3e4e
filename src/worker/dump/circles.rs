//! Circles of joins: tasks each of which waits for the end of the next, or for that of something which waits for it: a server,
//! whose end waits for its handlers.

use std::{collections::HashMap, slice};

use crate::{
    task::TaskId,
    worker::dump::{Circle, TaskDump, Wait, duties::Ends},
};

/// Every circle, once, beginning with its oldest task.
///
/// A walk from each task along "waits for the end of"; a task is walked through once, so it costs no more than there are
/// waits. A task may join several others, of which each is followed.
pub(super) fn circles(tasks: &[&TaskDump], ends: &[Ends]) -> Vec<Circle> {
    let mut joins: HashMap<TaskId, Vec<TaskId>> = tasks
        .iter()
        .map(|task| (task.id, task.waits.iter().flat_map(joined).copied().collect::<Vec<_>>()))
        .filter(|(_, joined)| !joined.is_empty())
        .collect();
    // What ends stands among the tasks under a number that no task has.
    for (at, Ends { waiting, awaited }) in ends.iter().enumerate() {
        let id = TaskId::new(NO_TASK + at as u64);
        joins.insert(id, awaited.clone());
        waiting.iter().for_each(|task| joins.entry(*task).or_default().push(id));
    }
    let mut starts: Vec<TaskId> = joins.keys().copied().collect();
    starts.sort_unstable();
    let mut done = HashMap::new();
    let mut found: Vec<Circle> = Vec::new();
    for start in starts {
        walk(start, &joins, &mut done, &mut found);
    }
    found
}

/// Tasks are numbered from 1.
const NO_TASK: u64 = 1 << 63;

fn joined(wait: &Wait) -> &[TaskId] {
    match wait {
        Wait::Join(task) => slice::from_ref(task),
        Wait::Scope(tasks) => tasks,
        Wait::Read(_)
        | Wait::Write(_)
        | Wait::Timer { .. }
        | Wait::Job { .. }
        | Wait::Note(_)
        | Wait::External => &[],
    }
}

/// A depth-first walk with a path of its own, not on the stack: there may be 32,768 tasks in a row. `done` says of a task
/// where it stands in the path, or `usize::MAX` when all that it leads to is known.
fn walk(
    start: TaskId,
    joins: &HashMap<TaskId, Vec<TaskId>>,
    done: &mut HashMap<TaskId, usize>,
    found: &mut Vec<Circle>,
) {
    if done.contains_key(&start) {
        return;
    }
    let mut path: Vec<(TaskId, usize)> = vec![(start, 0)];
    done.insert(start, 0);
    while let Some((task, next)) = path.last_mut() {
        let Some(joined) = joins.get(task).and_then(|joined| joined.get(*next)) else {
            done.insert(*task, usize::MAX);
            path.pop();
            continue;
        };
        *next += 1;
        match done.get(joined) {
            None => {
                done.insert(*joined, path.len());
                path.push((*joined, 0));
            }
            Some(&usize::MAX) => {}
            Some(&at) => found.push(circle(path[at..].iter().map(|(task, _)| *task).collect())),
        }
    }
}

fn circle(mut tasks: Vec<TaskId>) -> Circle {
    tasks.retain(|task| task.number() < NO_TASK);
    let oldest = tasks.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(at, _)| at);
    tasks.rotate_left(oldest);
    Circle { tasks }
}

#[cfg(test)]
mod tests {
    use std::{panic::Location, time::Duration};

    use super::*;
    use crate::worker::dump::TaskState;

    fn task(id: u64, joins: &[u64]) -> TaskDump {
        TaskDump {
            id: TaskId::new(id),
            name: None,
            spawned_at: Location::caller(),
            is_root: false,
            state: TaskState::Waiting,
            works_on: None,
            waits: joins.iter().map(|id| Wait::Join(TaskId::new(*id))).collect(),
            since: Duration::ZERO,
            polls: 1,
            timed_poll: None,
        }
    }

    fn found(tasks: &[(u64, &[u64])]) -> Vec<Vec<u64>> {
        let tasks: Vec<TaskDump> = tasks.iter().map(|(id, joins)| task(*id, joins)).collect();
        let tasks: Vec<&TaskDump> = tasks.iter().collect();
        let ids =
            |circle: Circle| circle.tasks.iter().map(|id| id.to_string()[1..].parse().unwrap()).collect();
        circles(&tasks, &[]).into_iter().map(ids).collect()
    }

    #[test]
    fn who_waits_for_the_end_of_what_others_work_on_waits_for_them() {
        let [waits, works, idle] = [task(3, &[]), task(4, &[3]), task(5, &[])];
        let ids = |tasks: &[&TaskDump]| tasks.iter().map(|task| task.id).collect::<Vec<_>>();
        let ends = Ends { waiting: ids(&[&waits]), awaited: ids(&[&idle, &works]) };
        let found = circles(&[&waits, &works, &idle], &[ends]);
        assert_eq!(found, [Circle { tasks: ids(&[&waits, &works]) }]);
    }

    #[test]
    fn a_chain_is_no_circle_and_a_task_that_joins_itself_is() {
        assert!(found(&[(1, &[2]), (2, &[3]), (3, &[])]).is_empty());
        assert_eq!(found(&[(7, &[7])]), [[7]]);
    }

    #[test]
    fn a_circle_is_found_once_and_begins_with_its_oldest_task() {
        assert_eq!(found(&[(9, &[4]), (4, &[6]), (6, &[9]), (1, &[9])]), [[4, 6, 9]]);
    }

    #[test]
    fn two_circles_through_one_task_are_both_found() {
        let mut both = found(&[(1, &[2, 3]), (2, &[1]), (3, &[1])]);
        both.sort();
        assert_eq!(both, [[1, 2], [1, 3]]);
    }

    #[test]
    fn a_row_as_long_as_a_dump_may_be_is_walked_without_a_deep_stack() {
        let ids: Vec<[u64; 1]> = (1..=32_768_u64).map(|id| [id % 32_768 + 1]).collect();
        let tasks: Vec<(u64, &[u64])> = (1..=32_768).zip(ids.iter().map(|id| &id[..])).collect();
        assert_eq!(found(&tasks).len(), 1);
    }
}
