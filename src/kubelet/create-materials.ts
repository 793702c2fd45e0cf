import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, describeError, errorCode, isAbort, parseQuantity } from '../core/index.ts';
import type { Secret } from '../kube/index.ts';
import { admit, assertWellFormed, refuseResize } from './admission/index.ts';
import { createCgroupManager } from './cgroups/index.ts';
import { makePodFolders } from './containers/files.ts';
import { hasAppArmor, hasSwapController, hugepageUnits, thermalPaths } from './containers/host-facts.ts';
import { containerHash, isComponent, logFolder } from './containers/index.ts';
import { containerResources } from './containers/linux-resources.ts';
import { subordinateIds } from './containers/subordinate-ids.ts';
import { createUserNamespaces } from './containers/user-namespaces.ts';
import { type MakingContext, makeContainerMaterials, makeSandboxMaterials } from './making.ts';
import type { MaterialsOptions, PodMaterials } from './materials.ts';
import { createReferences, createTokens } from './references/index.ts';
import { createLayout, createMounter, createStorage, createVolumeManager, podsOnDisk } from './volumes/index.ts';

/** The shared tmpfs may take a quarter of the memory: whoever fills it fills it with what the API server holds. */
const TMPFS_SHARE = 0.25;

/** Wires admission, references, volumes, cgroups and configurations into what the pod workers use. */
export function createMaterials(options: MaterialsOptions): PodMaterials {
  const { client, clock, log, exec, node } = options;
  const logDir = options.logDir ?? '/var/log/pods';
  const layout = createLayout(options.rootDir ?? '/var/lib/kubelet');
  const references = createReferences({ client, clock, log });
  const tokens = createTokens({ client, clock, ...(options.random && { random: options.random }) });
  const mounter = createMounter(exec, { scratchDir: layout.memoryDir });
  const cpuCfsQuota = options.cpuCfsQuota ?? true;
  const cgroups = createCgroupManager({
    ...options.cgroups,
    exec,
    clock,
    cpuCfsQuota,
    pidsLimit: options.podPidsLimit,
  });
  const allocatable = () => node().allocatable;
  const storage =
    options.storage &&
    createStorage({ ...options.storage, layout, mounter, exec, references, tokens, clock, log, facts: node });
  const volumes = createVolumeManager({
    layout,
    mounter,
    references,
    tokens,
    storage,
    clock,
    log,
    makeTrustBundles: async (changed) =>
      (await import('./references/trust-bundles.ts')).createTrustBundles({ client, clock, log, changed }),
    allocatable,
    allocatableMemory: () => memoryOf(allocatable(), options.memoryCapacity),
    ...(options.volumeOutdated && { outdated: options.volumeOutdated }),
    tmpfsBytes: Math.floor(options.memoryCapacity * TMPFS_SHARE),
  });
  const making: MakingContext = {
    options,
    logDir,
    layout,
    references,
    mounter,
    cgroups,
    host: {
      cgroupVersion: options.cgroups.version,
      memoryCapacity: options.memoryCapacity,
      cpuCfsQuota,
      swapController: false,
      swapBytes: options.swapBytes ?? 0,
      singleProcessOomKill: options.singleProcessOomKill ?? false,
      hugepageUnits: [],
    },
    security: { seccompRoot: join(layout.rootDir, 'seccomp'), seccompDefault: options.seccompDefault ?? false },
    users: createUserNamespaces({
      podDir: layout.podDir,
      podsOnDisk: () => podsOnDisk(layout),
      range: () => subordinateIds(exec),
    }),
  };

  let appArmor = true;

  return {
    async start(signal) {
      await references.start(signal);
      await volumes.start(signal);
      await storage?.start(signal);
      await cgroups.start(signal);
      appArmor = await hasAppArmor();
      making.security.maskedPaths = await thermalPaths();
      making.host.hugepageUnits = await hugepageUnits();
      making.host.swapController = await hasSwapController(
        options.cgroups.version,
        options.cgroups.mount ?? '/sys/fs/cgroup',
        cgroups.top,
      );
    },
    async stop() {
      await volumes.stop();
      await storage?.stop();
      await references.stop();
    },
    admit: (pod, active) =>
      admit(pod, active, node(), {
        allowedUnsafeSysctls: options.allowedUnsafeSysctls ?? [],
        kernelRelease: options.kernelRelease,
        appArmor,
        supplementalGroupsPolicy: options.runtimeSupports?.supplementalGroupsPolicy === true,
      }),
    async preparePod(pod, signal) {
      assertWellFormed(pod);
      try {
        await makePodFolders(layout.podDir(pod.metadata.uid as string));
      } catch (cause) {
        throw new AgentError({
          code: 'POD_FOLDER',
          message: `error making pod data directories: ${describeError(cause)}`,
          cause,
        });
      }
      await cgroups.ensure(pod, signal);
    },
    async mountVolumes(pod, signal) {
      assertWellFormed(pod);
      return volumes.ensure(pod, signal);
    },
    async sandbox(pod, attempt, signal) {
      assertWellFormed(pod);
      return makeSandboxMaterials(pod, attempt, making, signal);
    },
    async container(request, signal) {
      assertWellFormed(request.pod);
      return makeContainerMaterials(request, making, signal);
    },
    containerHash,
    containerResources: (pod, container) => containerResources(pod, container, making.host),
    refuseResize: (pod, others) => refuseResize(pod, others, allocatable()),
    async release(podUid, signal) {
      const outcomes = await Promise.allSettled([volumes.release(podUid, signal), cgroups.release(podUid, signal)]);
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
      making.users.release(podUid);
    },
    async removeLogs(pod) {
      await rm(join(logDir, logFolder(pod)), { recursive: true, force: true });
    },
    async orphans(known) {
      const found = new Set([...(await podsOnDisk(layout)), ...(await cgroups.pods())]);
      // A folder with another kind of name (`lost+found`, if this is a disk of its own) is nobody's pod.
      return [...found].filter((uid) => !known.has(uid) && isComponent(uid));
    },
    async secret(namespace, name, signal) {
      return (await references.get({ kind: 'Secret', namespace, name }, signal)) as Secret;
    },
    onVolumesMayBeReady: (handler) => volumes.onMayBeReady(handler),
    async sweepStaged() {
      await storage?.sweep();
    },
    volumesInUse: () => storage?.volumesInUse(),
    async sweepLogs(known) {
      let folders: string[];
      try {
        folders = await readdir(logDir);
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return;
        throw error;
      }
      for (const folder of folders) {
        const uid = folder.split('_').at(-1) ?? '';
        if (folder.split('_').length !== 3 || known.has(uid)) continue;
        await rm(join(logDir, folder), { recursive: true, force: true }).catch((error) => {
          if (!isAbort(error))
            log.warn('an old log folder can not be removed', { folder, error: describeError(error) });
        });
      }
    },
  };
}

function memoryOf(allocatable: Readonly<Record<string, string>>, fallback: number): number {
  return allocatable.memory === undefined ? fallback : Math.floor(parseQuantity(allocatable.memory));
}
