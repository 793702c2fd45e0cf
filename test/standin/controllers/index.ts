import { apiServerService } from './api-server-service.ts';
import type { Controller } from './controller.ts';
import { deployments } from './deployments.ts';
import { endpoints, orphanEndpoints } from './endpoints.ts';
import { garbageCollector, nodePasswordOwners } from './garbage-collector.ts';
import { namespaceContents, namespaceDeletion } from './namespaces.ts';
import { cloudProvider, nodeLifecycle, nodeMarks, podCidrs } from './nodes.ts';
import { podGarbage, taintEviction } from './pods.ts';
import { replicaSets } from './replica-sets.ts';
import { scheduler } from './scheduler.ts';

export const CONTROLLERS: readonly Controller[] = [
  namespaceContents,
  namespaceDeletion,
  podCidrs,
  cloudProvider,
  nodeMarks,
  apiServerService,
  nodeLifecycle,
  taintEviction,
  podGarbage,
  deployments,
  replicaSets,
  scheduler,
  endpoints,
  orphanEndpoints,
  garbageCollector,
  nodePasswordOwners,
];
