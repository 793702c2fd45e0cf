import { describeError } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { appArmorFault } from '../containers/apparmor.ts';
import { isCriticalPod, isStaticPod, specOf } from '../containers/spec.ts';
import { refusedUnderPressure } from '../eviction/admission.ts';
import type { Admission, NodeFacts } from '../materials.ts';
import { type Shortage, shortages } from './fit.ts';
import { portsTaken } from './ports.ts';
import { selectsNode } from './selector.ts';
import { assertWellFormed } from './shape.ts';
import { forbiddenSysctl } from './sysctls.ts';
import { untoleratedTaint } from './taints.ts';

export interface AdmissionRules {
  allowedUnsafeSysctls: readonly string[];
  /** As uname tells it; decides which sysctls are safe. All are when left out. */
  kernelRelease?: string | undefined;
  /** The runtime applies supplementalGroupsPolicy Strict. */
  supplementalGroupsPolicy?: boolean;
  /** The kernel has AppArmor on; not checked when left out. */
  appArmor?: boolean;
}

function no(reason: string, message: string): Extract<Admission, { admitted: false }> {
  return { admitted: false, reason, message };
}

/**
 * Whether a pod bound to this node may run on it: the checks, their order, reasons and texts of the kubelet
 * (pkg/kubelet/kubelet.go, sysctl/allowlist.go, lifecycle/predicate.go, lifecycle/handlers.go). Never throws; a pod that
 * can't be understood is not admitted.
 */
export function admit(pod: Pod, active: readonly Pod[], node: NodeFacts, rules: AdmissionRules): Admission {
  try {
    assertWellFormed(pod);
    return check(pod, active, node, rules);
  } catch (error) {
    return no('UnexpectedAdmissionError', describeError(error));
  }
}

function check(pod: Pod, active: readonly Pod[], node: NodeFacts, rules: AdmissionRules): Admission {
  const pressed = refusedUnderPressure(pod, node.pressures ?? []);
  if (pressed !== undefined) return no('Evicted', pressed);
  const { allowedUnsafeSysctls: allowedUnsafe, kernelRelease } = rules;
  const sysctl = forbiddenSysctl(pod, { allowedUnsafe, kernelRelease });
  if (sysctl !== undefined) return no('SysctlForbidden', sysctl);
  const os = pod.metadata.labels?.['kubernetes.io/os'];
  if (os !== undefined && os !== 'linux')
    return no(
      'PodOSSelectorNodeLabelDoesNotMatch',
      "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    );
  if (pod.spec.os && pod.spec.os.name !== 'linux')
    return no('PodOSNotSupported', "Failed to admit pod as the OS field doesn't match node OS");
  if (specOf(pod).securityContext?.supplementalGroupsPolicy === 'Strict' && rules.supplementalGroupsPolicy !== true)
    return no('SupplementalGroupsPolicyNotSupported', 'SupplementalGroupsPolicy=Strict is not supported in this node');
  const short = shortages(pod, active, node.allocatable);
  // A critical pod gets its place from others, unless something else is in the way.
  const preempts = short.length > 0 && isCriticalPod(pod);
  if (!preempts && short[0]) return outOf(short[0]);
  // Every Node has labels; without any, it is not known yet.
  if (Object.keys(node.labels).length > 0 && !selectsNode(pod, node))
    return predicate('NodeAffinity', "node(s) didn't match Pod's node affinity/selector");
  if (pod.spec.nodeName && pod.spec.nodeName !== node.name)
    return predicate('NodeName', "node(s) didn't match the requested node name");
  if (portsTaken(pod, active))
    return predicate('NodePorts', "node(s) didn't have free ports for the requested pod ports");
  if (!isStaticPod(pod) && untoleratedTaint(node.taints, pod.spec.tolerations ?? []))
    return predicate('TaintToleration', 'node(s) had untolerated taint(s)');
  if (preempts && short[0]) return { ...outOf(short[0]), shortages: short };
  if (node.shuttingDown) return no('NodeShutdown', 'Pod was rejected as the node is shutting down.');
  // A pod that runs already was let in when its profile could be had.
  if (rules.appArmor !== undefined && (pod.status?.phase ?? 'Pending') === 'Pending') {
    const fault = appArmorFault(pod, rules.appArmor);
    if (fault !== undefined) return no('AppArmor', fault);
  }
  return { admitted: true };
}

function outOf({ resource, requested, used, capacity }: Shortage) {
  return no(
    `OutOf${resource}`,
    `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  );
}

function predicate(name: string, text: string): Admission {
  return no(name, `Predicate ${name} failed: ${text}`);
}
