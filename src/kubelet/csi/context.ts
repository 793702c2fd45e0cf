import type { Clock, Logger } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { References, Tokens } from '../references/index.ts';
import type { StorageSpec } from '../volumes/claims/spec.ts';
import type { Layout } from '../volumes/layout.ts';
import type { Mounter } from '../volumes/mounter.ts';
import type { StorageNode } from '../volumes/storage.ts';
import type { Attachments } from './attach.ts';
import type { Drivers } from './drivers.ts';
import type { Locks } from './locks.ts';
import type { CsiDriverObject } from './objects.ts';
import type { CsiPaths } from './paths.ts';

/** What all of CSI shares. */
export interface CsiContext {
  paths: CsiPaths;
  layout: Layout;
  mounter: Mounter;
  references: References;
  tokens: Tokens;
  node: StorageNode;
  nodeName: string;
  drivers: Drivers;
  attachments: Attachments;
  /** One volume is worked on by one at a time. */
  locks: Locks;
  /** Something could not be unstaged: to be tried again. */
  left(): void;
  clock: Clock;
  log: Logger;
}

/** One volume to be set up for one pod. */
export interface CsiVolume {
  pod: Pod;
  podUid: string;
  spec: StorageSpec;
  driver: string;
  handle: string;
  /** Undefined: the cluster has no such object. */
  object: CsiDriverObject | undefined;
  signal: AbortSignal;
}
