import { ensureApiServerService } from '../bootstrap.ts';
import { K } from '../kinds.ts';
import type { Controller } from './controller.ts';

/** Brings the `kubernetes` Service back when someone deletes it. */
export const apiServerService: Controller = {
  name: 'api-server-service',
  watches: [K.services],
  reconcile({ registry, settings }) {
    if (!registry.store.get(K.services, 'default', 'kubernetes')) ensureApiServerService(registry, settings);
  },
};
