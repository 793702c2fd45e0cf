import { type Clock, isAbort } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import type { EventRecorder, Probe } from '../../../kube/index.ts';
import { podReports } from '../reports.ts';
import { check, type Verdict } from './check.ts';
import { runHook } from './hooks.ts';
import { type ProbeKind, type ProbeTiming, probesOf, timingOf } from './spec.ts';
import type { HealthChange, ProbeRunner, ProbeTarget } from './types.ts';

export interface ProbeRunnerOptions {
  runtime: RuntimeService;
  recorder: EventRecorder;
  clock: Clock;
}

interface Entry {
  kind: ProbeKind;
  probe: Probe;
  timing: ProbeTiming;
  target: ProbeTarget;
  report: (id: string, change: HealthChange) => void;
  /** Monotonic milliseconds of the next try. */
  nextAt: number;
  last: Verdict['result'] | undefined;
  inARow: number;
  started: boolean;
  /** Failed for good: nothing more to ask until the container is replaced. */
  held: boolean;
  busy: boolean;
  abort: AbortController;
}

/** Tries that fall due within that time are woken together. */
const TOGETHER_MS = 50;

/** Upstream pkg/kubelet/prober: thresholds, order and texts. One timer serves all probes of the node. */
export function createProbeRunner({ runtime, recorder, clock }: ProbeRunnerOptions): ProbeRunner {
  const pods = new Map<string, Map<string, Entry>>();
  let cancel: (() => void) | undefined;
  let timerAt = Number.POSITIVE_INFINITY;

  const schedule = (): void => {
    let at = Number.POSITIVE_INFINITY;
    for (const entries of pods.values())
      for (const entry of entries.values()) if (mayRun(entry, entries)) at = Math.min(at, entry.nextAt);
    if (at === timerAt) return;
    cancel?.();
    cancel = undefined;
    timerAt = at;
    if (at !== Number.POSITIVE_INFINITY) cancel = clock.after(Math.max(0, at - clock.monotonic()), tick);
  };

  const tick = (): void => {
    timerAt = Number.POSITIVE_INFINITY;
    const now = clock.monotonic() + TOGETHER_MS;
    for (const [uid, entries] of pods)
      for (const entry of entries.values()) if (mayRun(entry, entries) && entry.nextAt <= now) void run(uid, entry);
    schedule();
  };

  const run = async (uid: string, entry: Entry): Promise<void> => {
    entry.busy = true;
    const { timing, target, probe, abort } = entry;
    entry.nextAt = clock.monotonic() + timing.periodMs;
    try {
      const verdict = await check(probe, target, { runtime, timeoutMs: timing.timeoutMs, signal: abort.signal });
      // The pod's probes as they are now: they may have been put together anew while this one was asked.
      if (!abort.signal.aborted) judge(entry, pods.get(uid) ?? new Map(), verdict);
    } catch (error) {
      if (!isAbort(error)) throw error;
    } finally {
      entry.busy = false;
      schedule();
    }
  };

  const judge = (entry: Entry, entries: ReadonlyMap<string, Entry>, verdict: Verdict): void => {
    const { kind, target, timing } = entry;
    const { result } = verdict;
    tell(recorder, entry, verdict);
    if (result === 'error') return; // tried again; what was known stays
    entry.inARow = entry.last === result ? entry.inARow + 1 : 1;
    entry.last = result;
    if (entry.inARow < (result === 'success' ? timing.successThreshold : timing.failureThreshold)) return;
    const { id } = target.observed;
    if (kind === 'readiness') entry.report(id, { ready: result === 'success' });
    else if (result === 'failure') {
      entry.held = true;
      entry.report(id, { unhealthy: kind });
    } else if (kind === 'startup') {
      entry.held = true;
      const now = clock.monotonic();
      for (const other of entries.values())
        if (other.target.observed.id === id) {
          other.started = true;
          if (other !== entry) other.nextAt = Math.max(now, other.nextAt - other.timing.periodMs);
        }
      const hasReadiness = [...entries.values()].some((e) => e.target.observed.id === id && e.kind === 'readiness');
      entry.report(id, hasReadiness ? { started: true } : { started: true, ready: true });
    }
  };

  return {
    watch(uid, targets, report) {
      if (targets.length === 0 && !pods.has(uid)) return;
      const before = pods.get(uid) ?? new Map<string, Entry>();
      const after = new Map<string, Entry>();
      for (const target of targets)
        for (const [kind, probe] of probesOf(target.container)) {
          const key = `${target.observed.id} ${kind}`;
          const kept = before.get(key);
          if (kind === 'startup' && target.started && !kept) continue;
          // While a pod ends only readiness still matters to others.
          if (kind !== 'readiness' && target.pod.metadata.deletionTimestamp) continue;
          if (kept) Object.assign(kept, { target, report });
          before.delete(key);
          after.set(key, kept ?? newEntry({ kind, probe, target, report, now: clock.monotonic(), wall: clock.now() }));
        }
      for (const gone of before.values()) gone.abort.abort();
      if (after.size === 0) pods.delete(uid);
      else pods.set(uid, after);
      schedule();
    },
    forget(uid) {
      for (const entry of pods.get(uid)?.values() ?? []) entry.abort.abort();
      if (pods.delete(uid)) schedule();
    },
    hook: (target, which, signal) =>
      runHook(target, which, { runtime, clock, signal, event: podReports(recorder, () => target.pod).pod }),
  };
}

function newEntry(of: {
  kind: ProbeKind;
  probe: Probe;
  target: ProbeTarget;
  report: Entry['report'];
  now: number;
  wall: number;
}): Entry {
  const { kind, probe, target, report, now, wall } = of;
  const timing = timingOf(probe);
  const age = Math.max(0, wall - target.observed.startedAt);
  return {
    kind,
    probe,
    timing,
    target,
    report,
    nextAt: now + Math.max(0, timing.initialDelayMs - age),
    last: undefined,
    inARow: 0,
    started: target.started || !target.container.spec.startupProbe,
    held: false,
    busy: false,
    abort: new AbortController(),
  };
}

function tell(recorder: EventRecorder, { kind, target }: Entry, { result, output, warning, state }: Verdict): void {
  const name = `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
  const say = (reason: string, message: string) =>
    podReports(recorder, () => target.pod).container(target.container, 'Warning', reason, `${name} probe ${message}`);
  if (warning !== undefined) say('ProbeWarning', `warning: ${warning}`);
  if (result === 'failure') say('Unhealthy', `failed: ${output}`);
  if (result === 'error') say('Unhealthy', `errored and resulted in ${state ?? 'unknown'} state: ${output}`);
}

/** The startup probe has the word until it succeeded; the others come after it. */
function mayRun(entry: Entry, entries: ReadonlyMap<string, Entry>): boolean {
  if (entry.busy || entry.held) return false;
  const startup = entries.get(`${entry.target.observed.id} startup`);
  return entry.kind === 'startup' || startup === undefined || startup.started;
}
