//! The predicates over schedules that go on from the ends of their runs: none stands still, none goes on twice.

use super::*;

/// I17: a living task whose schedule goes on from the ends of its runs has a due row, or an open run that will put it, and
/// never both; unless it rests, its due row is set aside, or its schedule may be over.
///
/// # Errors
/// The task that would stand still for ever, or go on twice.
pub fn chains_go_on(snapshot: &Snapshot) -> Result<(), Violation> {
    let open = snapshot.runs.iter().filter(|r| !r.state.is_terminal());
    let open: HashSet<RunId> = open.map(|r| r.id).collect();
    let mut due: HashMap<TaskId, usize> = HashMap::new();
    for key in &snapshot.due {
        if let Owner::Task(task) = key.owner {
            *due.entry(task).or_default() += 1;
        }
    }
    for Chained {
        task,
        chain,
        holder,
        aside,
    } in &snapshot.chained
    {
        if let Some(run) = holder.filter(|run| !open.contains(run)) {
            return broken("I17", format!("task {task} waits for {run}, which ended"));
        }
        let rows = due.get(task).copied().unwrap_or_default();
        let goes_on = rows + usize::from(holder.is_some());
        let may_stand = chain.rests || chain.last.is_some() || *aside;
        if goes_on > 1 || (goes_on == 0 && !may_stand) {
            return broken("I17", format!("task {task}: {rows} due rows, {holder:?}"));
        }
    }
    Ok(())
}

/// I17: no two occurrences of such a task are open at once; of tasks that always had such schedules.
///
/// # Errors
/// The task that has two.
pub fn one_of_a_chain(snapshot: &Snapshot) -> Result<(), Violation> {
    let chained: HashSet<TaskId> = snapshot.chained.iter().map(|c| c.task).collect();
    let mut busy = HashSet::new();
    let open = |r: &&Run| r.origin == Origin::Schedule && !r.state.is_terminal();
    let tasks = snapshot.runs.iter().filter(open).filter_map(|r| r.task);
    match tasks
        .filter(|t| chained.contains(t))
        .find(|t| !busy.insert(*t))
    {
        Some(task) => broken("I17", format!("task {task} has two open occurrences")),
        None => Ok(()),
    }
}
