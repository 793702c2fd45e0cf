import type { Deployment } from 'kubernetes-types/apps/v1.d.ts';
import type { Pod, PodSpec } from 'kubernetes-types/core/v1.d.ts';
import type { Kind } from '../kinds.ts';
import { as, type Obj, sameJson } from '../objects.ts';
import { matchesLabelSelector } from '../selectors.ts';
import { type Cause, forbiddenField, invalidValue, required } from '../status.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const POD_UPDATE_RULE =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/** What is wrong with an object, in the API server's words; the main rules, not all of them. */
export function validate(kind: Kind, object: Obj): Cause[] {
  return [...validateName(kind, object.metadata.name ?? ''), ...validateLabels(object), ...validateSpec(kind, object)];
}

function validateName(kind: Kind, name: string): Cause[] {
  if (name === '')
    return [{ ...required('metadata.name'), message: 'Required value: name or generateName is required' }];
  if (kind.group === 'rbac.authorization.k8s.io') return [];
  if (kind.kind === 'Namespace' || kind.kind === 'Service')
    return LABEL.test(name) && name.length <= 63 ? [] : [invalidValue('metadata.name', name, LABEL_RULE)];
  if (!SUBDOMAIN.test(name)) return [invalidValue('metadata.name', name, SUBDOMAIN_RULE)];
  if (name.length > 253) return [invalidValue('metadata.name', name, 'must be no more than 253 characters')];
  return [];
}

const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

function validateLabels(object: Obj): Cause[] {
  const causes: Cause[] = [];
  for (const value of Object.values(object.metadata.labels ?? {}))
    if (typeof value !== 'string' || value.length > 63 || !LABEL_VALUE.test(value))
      causes.push(
        invalidValue(
          'metadata.labels',
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
      );
  return causes;
}

function validateSpec(kind: Kind, object: Obj): Cause[] {
  if (kind.kind === 'Pod') return validatePodSpec('spec', as<Pod>(object).spec);
  if (kind.kind === 'Deployment' || kind.kind === 'ReplicaSet') {
    const spec = as<Deployment>(object).spec;
    if (!spec?.selector) return [required('spec.selector')];
    const labels = spec.template?.metadata?.labels;
    const causes = validatePodSpec('spec.template.spec', spec.template?.spec);
    if (!matchesLabelSelector(spec.selector, labels))
      causes.unshift(
        invalidValue('spec.template.metadata.labels', labels ?? {}, '`selector` does not match template `labels`'),
      );
    return causes;
  }
  return [];
}

function validatePodSpec(path: string, spec: PodSpec | undefined): Cause[] {
  if (!spec?.containers?.length) return [required(`${path}.containers`)];
  const causes: Cause[] = [];
  const volumes = new Set((spec.volumes ?? []).map((volume) => volume.name));
  const seen = new Set<string>();
  for (const list of ['initContainers', 'containers'] as const)
    (spec[list] ?? []).forEach((container, i) => {
      const at = `${path}.${list}[${i}]`;
      if (!container.name) causes.push(required(`${at}.name`));
      else if (!LABEL.test(container.name)) causes.push(invalidValue(`${at}.name`, container.name, LABEL_RULE));
      else if (seen.has(container.name))
        causes.push({
          field: `${at}.name`,
          reason: 'FieldValueInvalid',
          message: `Duplicate value: "${container.name}"`,
        });
      seen.add(container.name);
      if (!container.image) causes.push(required(`${at}.image`));
      (container.volumeMounts ?? []).forEach((mount, j) => {
        if (!volumes.has(mount.name))
          causes.push({
            field: `${at}.volumeMounts[${j}].name`,
            reason: 'FieldValueInvalid',
            message: `Not found: "${mount.name}"`,
          });
      });
    });
  return causes;
}

/** What an update may not change, by kind. */
export function validateUpdate(kind: Kind, object: Obj, old: Obj): Cause[] {
  if (kind.kind === 'Pod') {
    const comparable = (pod: Pod) => {
      const {
        activeDeadlineSeconds: _a,
        tolerations: _t,
        terminationGracePeriodSeconds: _g,
        ...rest
      } = pod.spec as PodSpec;
      const blank = (list?: { image?: string; resources?: unknown }[]) => list?.map((c) => ({ ...c, image: '' }));
      return { ...rest, containers: blank(rest.containers), initContainers: blank(rest.initContainers) };
    };
    const ephemeral = sameJson(as<Pod>(object).spec?.ephemeralContainers, as<Pod>(old).spec?.ephemeralContainers);
    if (!ephemeral || !sameJson(comparable(as<Pod>(object)), comparable(as<Pod>(old))))
      return [forbiddenField('spec', POD_UPDATE_RULE)];
  }
  if ((kind.kind === 'Secret' || kind.kind === 'ConfigMap') && old.immutable === true) {
    if (!sameJson(object.data, old.data)) return [forbiddenField('data', 'field is immutable when `immutable` is set')];
    if (object.immutable !== true) return [forbiddenField('immutable', 'field is immutable when `immutable` is set')];
  }
  if (kind.kind === 'Node') {
    const podCidr = (node: Obj) => (node.spec as { podCIDR?: string } | undefined)?.podCIDR;
    if (podCidr(old) && podCidr(object) !== podCidr(old))
      return [forbiddenField('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid')];
  }
  if (kind.kind === 'Deployment' || kind.kind === 'ReplicaSet') {
    const selector = (o: Obj) => (o.spec as { selector?: unknown } | undefined)?.selector;
    if (!sameJson(selector(object), selector(old)))
      return [invalidValue('spec.selector', selector(object), 'field is immutable')];
  }
  return [];
}
