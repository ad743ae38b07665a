//! What a probe means for the lock, as sentences with their remedies. Pure.

use super::{ClusterView, Persistence, Probe, SentinelView};

/// Slots of every cluster.
const SLOTS: u32 = 16_384;
/// The oldest that the tests run on.
const MAJOR_MIN: u32 = 7;
/// Fewer than these can't outvote a part of themselves.
const VOTERS_MIN: u32 = 3;

/// How much a sentence weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It serves, and something may go wrong.
    Risk,
    /// It does not serve, or won't when the master dies.
    Broken,
}

type Judged = Vec<(Verdict, String)>;

impl Probe {
    /// What each finding means, with its remedy where it is not well.
    #[must_use]
    pub fn judged(&self) -> Judged {
        let mut out = Vec::new();
        self.server(&mut out);
        self.replication(&mut out);
        if let Some(persistence) = &self.persistence {
            out.push(persistence.judged());
        }
        match &self.cluster {
            Some(view) => view.judge(&mut out),
            None if self.is_cluster && !self.as_cluster => out.push((
                Verdict::Risk,
                "this Redis is a node of a cluster: it serves the lock only as long as the lock's slot is its own; begin the setting `lock` with redis+cluster:// (rediss+cluster:// for TLS) and name several nodes".to_owned(),
            )),
            None => {}
        }
        self.sentinels(&mut out);
        let silent = &self.around.silent;
        out.extend(silent.iter().map(|host| (Verdict::Risk, format!(
            "{host} of the setting `lock` gives no answer, or refuses: start it, or name another; the others serve meanwhile"
        ))));
        self.unasked(&mut out);
        out
    }

    /// One sentence for each setting that is a risk to the lock, with its remedy. Empty where all is well.
    #[must_use]
    pub fn remedies(&self) -> Vec<String> {
        let judged = self.judged().into_iter();
        judged
            .filter(|(verdict, _)| *verdict != Verdict::Well)
            .map(|(_, text)| text)
            .collect()
    }

    fn server(&self, out: &mut Judged) {
        if !matches!(self.role.as_str(), "master" | "unknown") {
            out.push((Verdict::Broken, format!(
                "this Redis is a {}, not a master, and refuses the lock: let the setting `lock` name the master, or the group as redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
                self.role
            )));
        }
        let major: Option<u32> = self.version.split('.').next().and_then(|m| m.parse().ok());
        if major.is_some_and(|major| major < MAJOR_MIN) {
            out.push((Verdict::Risk, format!(
                "this Redis is {}, and {MAJOR_MIN}.0 is the oldest that Campanile is tested with: upgrade it",
                self.version
            )));
        }
        match self.maxmemory_policy.as_deref() {
            Some("noeviction") => {
                let text = "`maxmemory-policy` is noeviction: a full Redis refuses and drops nothing";
                out.push((Verdict::Well, text.to_owned()));
            }
            Some(policy) => out.push((Verdict::Risk, format!(
                "`maxmemory-policy` is {policy}, so a full Redis may drop the lock while it is held, and the leader changes: run CONFIG SET maxmemory-policy noeviction and write it into redis.conf, or give the lock a Redis of its own"
            ))),
            None => {}
        }
    }

    fn replication(&self, out: &mut Judged) {
        let (replicas, asked) = (self.replicas, self.min_replicas_to_write);
        let connected = match replicas {
            1 => "1 replica is connected".to_owned(),
            n => format!("{n} replicas are connected"),
        };
        let is_watched = self.as_cluster || !self.around.sentinels.is_empty();
        if asked.is_some_and(|least| least > replicas) {
            out.push((Verdict::Broken, format!(
                "{connected} and `min-replicas-to-write` wants {}, so Redis refuses the lock: bring the replicas back, or lower the setting",
                asked.unwrap_or(0)
            )));
        } else if replicas > 0 && asked == Some(0) {
            out.push((Verdict::Risk, format!(
                "{connected} and `min-replicas-to-write` is 0, so a master that is cut off goes on giving the lock away beside its successor: run CONFIG SET min-replicas-to-write 1 on every server and write it into redis.conf"
            )));
        } else if replicas > 0 {
            out.push((Verdict::Well, connected));
        }
        if is_watched && replicas == 0 && self.role == "master" {
            out.push((Verdict::Risk, "no replica of this master is connected, so nobody takes its place when it dies: start one, and look at its `master_link_status` in INFO replication".to_owned()));
        }
    }

    fn sentinels(&self, out: &mut Judged) {
        let views = &self.around.sentinels;
        for view in views {
            view.judge(out);
        }
        let named = |view: &SentinelView| !view.master.is_empty();
        let mut masters: Vec<&str> = views
            .iter()
            .filter(|v| named(v))
            .map(|v| v.master.as_str())
            .collect();
        masters.sort_unstable();
        masters.dedup();
        if masters.len() > 1 {
            out.push((Verdict::Risk, format!(
                "the sentinels name different masters ({}): that passes with a fail-over; if it lasts, they don't see each other: compare their SENTINEL SENTINELS",
                masters.join(", ")
            )));
        }
    }

    fn unasked(&self, out: &mut Judged) {
        let sentinels = self.around.sentinels.iter();
        let of_sentinels =
            sentinels.flat_map(|view| view.unasked.iter().map(|right| (*right, "sentinels'")));
        let all = self.unasked.iter().map(|right| (*right, "lock's"));
        let mut told = Vec::new();
        for (right, whose) in all.chain(of_sentinels) {
            if told.contains(&right) {
                continue;
            }
            told.push(right);
            let what = match right {
                "info" => {
                    "the role, the version, `maxmemory-policy`, the replicas and what is kept on the disk"
                }
                "config|get" => "`min-replicas-to-write`, `save` and `cluster-node-timeout`",
                "time" => "its clock",
                "cluster|info" => "the cluster's state and its slots",
                _ => "the quorum",
            };
            out.push((Verdict::Risk, format!(
                "could not ask about {what}: the {whose} user may not, so nothing is known of it; ACL SETUSER NAME +{right}"
            )));
        }
    }
}

impl Persistence {
    fn judged(&self) -> (Verdict, String) {
        if self.fails {
            return (Verdict::Broken, "Redis can't write to its disk, and refuses the lock (MISCONF) as long as that lasts: look at its log and its disk, or run CONFIG SET save \"\" and CONFIG SET appendonly no, since the lock needs neither".to_owned());
        }
        let kept = match (self.snapshots, self.log) {
            (_, true) => "the append-only file is on",
            (Some(true), false) => "snapshots are on",
            (None, false) => "the append-only file is off; snapshots could not be asked about",
            (Some(false), false) => {
                return (Verdict::Well, "nothing is kept on the disk, and the lock needs nothing there: a Redis that restarts has forgotten it, somebody takes it again, and the store lets one of them lead".to_owned());
            }
        };
        (
            Verdict::Well,
            format!(
                "{kept}: of no use to the lock, which is over after its TTL, and no harm; but a disk that can't be written may stop it"
            ),
        )
    }
}

impl ClusterView {
    fn judge(&self, out: &mut Judged) {
        let served = format!("{} of {SLOTS} slots are served", self.slots_ok);
        if self.state != "ok" || self.slots_ok < SLOTS {
            out.push((Verdict::Broken, format!(
                "the cluster's state is `{}`, and {served}: run redis-cli --cluster check HOST:PORT, start the masters that are missing, or give their slots to others with redis-cli --cluster fix HOST:PORT",
                self.state
            )));
        } else {
            let after = self.node_timeout_ms.map_or(String::new(), |ms| {
                format!(
                    "; a master that is silent for {ms} ms is replaced (`cluster-node-timeout`)"
                )
            });
            out.push((
                Verdict::Well,
                format!(
                    "the cluster's state is ok, {served} by {} masters{after}",
                    self.masters
                ),
            ));
        }
        if self.slots_in_doubt > 0 {
            out.push((Verdict::Risk, format!(
                "the masters of {} slots give no answer: the cluster replaces them if they have replicas; else start them",
                self.slots_in_doubt
            )));
        }
        if self.masters < VOTERS_MIN {
            out.push((Verdict::Risk, format!(
                "the cluster has {} masters: when one dies, no majority is left that replaces it; give it three, each with a replica",
                self.masters
            )));
        }
    }
}

impl SentinelView {
    fn judge(&self, out: &mut Judged) {
        let at = &self.sentinel;
        if let Some(why) = &self.no_quorum {
            out.push((Verdict::Broken, format!(
                "the sentinel at {at} could not replace the master now ({why}): start the sentinels that are missing, or lower the quorum with SENTINEL SET SERVICE quorum N"
            )));
        }
        if self.sentinels == 0 {
            return;
        }
        if self.sentinels < VOTERS_MIN {
            out.push((Verdict::Risk, format!(
                "the sentinel at {at} knows {} sentinels in all: when one dies, no majority is left that replaces the master; run three on three machines",
                self.sentinels
            )));
        } else {
            out.push((
                Verdict::Well,
                format!(
                    "the sentinel at {at}: {} sentinels, a quorum of {}, master {}",
                    self.sentinels, self.quorum, self.master
                ),
            ));
        }
    }
}
