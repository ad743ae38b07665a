//! When a task is due. Placeholder head, replaced by the schedule engine.
