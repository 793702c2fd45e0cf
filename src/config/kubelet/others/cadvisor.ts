import { alike, type OtherKey } from '../key.ts';
import { anything, text } from '../kinds.ts';

const CADVISOR = 'it tunes cAdvisor, which is not in here; figures are read from cgroups when somebody asks';

/** Of cAdvisor, which the kubelet has in it. */
export const CADVISOR_KEYS: readonly OtherKey[] = [
  { flag: 'containerd', kind: text, state: 'needless', why: CADVISOR },
  { flag: 'containerd-namespace', kind: text, state: 'needless', why: CADVISOR },
  ...alike(
    [
      'housekeeping-interval',
      'application-metrics-count-limit',
      'boot-id-file',
      'container-hints',
      'enable-load-reader',
      'event-storage-age-limit',
      'event-storage-event-limit',
      'global-housekeeping-interval',
      'log-cadvisor-usage',
      'machine-id-file',
      'storage-driver-user',
      'storage-driver-password',
      'storage-driver-host',
      'storage-driver-db',
      'storage-driver-table',
      'storage-driver-secure',
      'storage-driver-buffer-duration',
    ],
    { kind: anything, state: 'needless', why: CADVISOR },
  ),
  ...alike(
    [
      'docker',
      'docker-env-metadata-whitelist',
      'docker-only',
      'docker-root',
      'docker-tls',
      'docker-tls-ca',
      'docker-tls-cert',
      'docker-tls-key',
    ],
    { kind: anything, state: 'needless', why: CADVISOR, until: 23 },
  ),
];
