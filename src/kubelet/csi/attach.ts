import { AgentError, type Clock, describeError } from '../../core/index.ts';
import type { StorageNode } from '../volumes/storage.ts';
import { getAttachment } from './objects.ts';
import { attachmentName, uniqueName } from './paths.ts';

/**
 * The node's half of attaching: it says which volumes it uses (`status.volumesInUse`), so that none is detached under a
 * pod, and waits until the controller says that one is attached (`status.volumesAttached`).
 */
export interface Attachments {
  /** What the driver's controller wants its node half to know. Throws with upstream's text. */
  wait(volume: { driver: string; handle: string }, signal: AbortSignal): Promise<Record<string, string>>;
  /** In use without a wait: found staged from before a restart, or let go by another pod's end meanwhile. */
  adopt(driver: string, handle: string): void;
  release(driver: string, handle: string): void;
  inUse(): string[];
}

export interface AttachOptions {
  node: StorageNode;
  nodeName: string;
  clock: Clock;
}

/** As long as upstream's pod workers wait for volumes. */
const PATIENCE_MS = 123_000;

export function createAttachments({ node, nodeName, clock }: AttachOptions): Attachments {
  const inUse = new Set<string>();
  const use = (name: string) => {
    if (inUse.has(name)) return;
    inUse.add(name);
    node.inUseChanged();
  };
  const attached = (name: string) =>
    (node.node()?.status?.volumesAttached ?? []).some((volume) => volume.name === name);

  async function untilAttached(name: string, signal: AbortSignal): Promise<void> {
    if (attached(name)) return;
    const there = new AbortController();
    const stop = node.onNode(() => {
      if (attached(name)) there.abort();
    });
    try {
      await clock.sleep(PATIENCE_MS, AbortSignal.any([signal, there.signal]));
    } catch (error) {
      if (!there.signal.aborted || signal.aborted) throw error;
      return;
    } finally {
      stop();
    }
    throw new AgentError({ code: 'CSI_NOT_ATTACHED', message: 'timed out waiting for the condition' });
  }

  return {
    async wait({ driver, handle }, signal) {
      const name = uniqueName(driver, handle);
      use(name);
      await untilAttached(name, signal);
      const id = attachmentName(handle, driver, nodeName);
      const attachment = await getAttachment(node.client, id, signal).catch((error) => {
        if (signal.aborted) throw error;
        throw failure(`volume ${handle} has GET error for volume attachment ${id}: ${describeError(error)}`, error);
      });
      if (attachment.metadata.deletionTimestamp) throw failure('volume attachment is being deleted');
      const { attached: done, attachError, attachmentMetadata } = attachment.status ?? {};
      if (!done) throw failure(attachError?.message ?? `volume attachment ${id} is not attached yet`);
      return attachmentMetadata ?? {};
    },
    adopt: (driver, handle) => use(uniqueName(driver, handle)),
    release(driver, handle) {
      if (inUse.delete(uniqueName(driver, handle))) node.inUseChanged();
    },
    inUse: () => [...inUse].sort(),
  };
}

function failure(message: string, cause?: unknown): AgentError {
  return new AgentError({ code: 'CSI_NOT_ATTACHED', message: message.slice(0, 1024), cause });
}
