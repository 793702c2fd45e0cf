import { isMirrorPod } from '../containers/spec.ts';
import type { PodChange, PodSource } from '../pods/source.ts';

export interface MergedSourceOptions {
  /** Pods of the server, and the mirrors of static ones among them. */
  server: PodSource;
  files: PodSource;
  /** Gets the mirrors, which are objects only: nothing runs for them. */
  onMirror(change: PodChange): void;
}

/** Pods of both sources as one. Starting and stopping the two is their owner's. */
export function mergedSource({ server, files, onMirror }: MergedSourceOptions): PodSource {
  return {
    start: async () => {},
    stop: async () => {},
    get synced() {
      return server.synced && files.synced;
    },
    whenSynced: async () => {
      await Promise.all([server.whenSynced(), files.whenSynced()]);
    },
    spares: (pod) => server.spares?.(pod) === true || files.spares?.(pod) === true,
    subscribe(handler) {
      const both = [
        files.subscribe(handler),
        server.subscribe((change) => (isMirrorPod(change.pod) ? onMirror(change) : handler(change))),
      ];
      return () => {
        for (const unsubscribe of both) unsubscribe();
      };
    },
  };
}
