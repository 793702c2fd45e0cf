import type { Controller } from './controller.ts';
import { namespaceContents, namespaceDeletion } from './namespaces.ts';
import { cloudProvider, nodeLifecycle, podCidrs } from './nodes.ts';
import { scheduler } from './scheduler.ts';

export const CONTROLLERS: readonly Controller[] = [
  namespaceContents,
  namespaceDeletion,
  podCidrs,
  cloudProvider,
  nodeLifecycle,
  scheduler,
];
