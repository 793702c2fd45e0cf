import type { OtherKey } from '../key.ts';
import { duration, int, text } from '../kinds.ts';

const EVENTS = 'the agent acts on events and needs no such interval';
const LIMITS = 'requests to the server are few: they are bundled, not throttled';

/** How often, and how much at once. */
export const PACE_KEYS: readonly OtherKey[] = [
  { flag: 'sync-frequency', field: 'syncFrequency', kind: duration(), state: 'needless', why: EVENTS },
  {
    flag: 'file-check-frequency',
    field: 'fileCheckFrequency',
    kind: duration(),
    state: 'needless',
    why: 'changes of manifests are seen at once',
  },
  {
    flag: 'http-check-frequency',
    field: 'httpCheckFrequency',
    kind: duration(),
    state: 'needless',
    why: 'no manifest is read from a URL',
  },
  {
    flag: 'node-status-update-frequency',
    field: 'nodeStatusUpdateFrequency',
    kind: duration(),
    state: 'needless',
    why: EVENTS,
  },
  {
    flag: 'volume-stats-agg-period',
    field: 'volumeStatsAggPeriod',
    kind: duration(),
    state: 'needless',
    why: 'volumes are measured when somebody asks',
  },
  {
    flag: 'runtime-request-timeout',
    field: 'runtimeRequestTimeout',
    kind: duration(),
    state: 'needless',
    why: 'each kind of request has a time limit of its own, none above two minutes',
  },
  {
    field: 'configMapAndSecretChangeDetectionStrategy',
    kind: text,
    state: 'needless',
    why: 'ConfigMaps and Secrets are watched',
  },
  { field: 'podHousekeepingPeriod', kind: duration(), state: 'needless', why: EVENTS },
  { flag: 'event-qps', field: 'eventRecordQPS', kind: int({ min: 0 }), state: 'needless', why: LIMITS },
  { flag: 'event-burst', field: 'eventBurst', kind: int({ min: 0 }), state: 'needless', why: LIMITS },
  { flag: 'kube-api-qps', field: 'kubeAPIQPS', kind: int({ min: 0 }), state: 'needless', why: LIMITS },
  { flag: 'kube-api-burst', field: 'kubeAPIBurst', kind: int({ min: 0 }), state: 'needless', why: LIMITS },
  {
    flag: 'kube-api-content-type',
    field: 'contentType',
    kind: text,
    state: 'needless',
    why: 'JSON is spoken with the server',
  },
  {
    flag: 'registry-qps',
    field: 'registryPullQPS',
    kind: int({ min: 0 }),
    state: 'needless',
    why: 'pulls are bounded by how many run at once',
  },
  {
    flag: 'registry-burst',
    field: 'registryBurst',
    kind: int({ min: 0 }),
    state: 'needless',
    why: 'pulls are bounded by how many run at once',
  },
];
