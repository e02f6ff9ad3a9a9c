// Checks CloudFormation templates against the full resource schemas, offline.
//
//   node check.mjs DIRECTORY     every *.template.json in it
//
// Prints a line for each mistake and how many properties were looked at.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAwsServiceSpec } from '@aws-cdk/aws-service-spec';

const db = await loadAwsServiceSpec();
const mistakes = [];
let looked = 0;

// An intrinsic is a value that only a deployment knows. What it refers to is
// looked at; what comes out of it is taken on trust.
const isIntrinsic = (v) => {
  const keys = v && typeof v === 'object' && !Array.isArray(v) ? Object.keys(v) : [];
  return keys.length === 1 && (keys[0] === 'Ref' || keys[0].startsWith('Fn::'));
};

function properties(defined, given, at) {
  if (!given || typeof given !== 'object' || Array.isArray(given)) return mistakes.push(`${at}: is no object`);
  for (const [name, p] of Object.entries(defined)) {
    if (p.required && given[name] === undefined) mistakes.push(`${at}.${name}: is required`);
  }
  for (const [name, v] of Object.entries(given)) {
    if (!defined[name]) mistakes.push(`${at}.${name}: there is no such property`);
    else value(defined[name].type, v, `${at}.${name}`);
  }
}

// value notes where v is not of a type; the schema may leave several open.
function value(type, v, at) {
  looked++;
  if (isIntrinsic(v)) return;
  const wrong = () => mistakes.push(`${at}: ${JSON.stringify(v).slice(0, 80)} is no ${type.type}`);
  switch (type.type) {
    case 'string':
    case 'date-time':
      if (typeof v !== 'string') return wrong();
      break;
    case 'integer':
      if (!Number.isInteger(v)) return wrong();
      break;
    case 'number':
      if (typeof v !== 'number') return wrong();
      break;
    case 'boolean':
      if (typeof v !== 'boolean') return wrong();
      break;
    case 'array':
      if (!Array.isArray(v)) return wrong();
      return v.forEach((e, i) => value(type.element, e, `${at}[${i}]`));
    case 'map':
      if (typeof v !== 'object' || Array.isArray(v)) return wrong();
      return Object.entries(v).forEach(([k, e]) => value(type.element, e, `${at}.${k}`));
    case 'ref':
      return properties(db.get('typeDefinition', type.reference.$ref).properties, v, at);
    case 'tag':
      return properties({ Key: { type: { type: 'string' }, required: true }, Value: { type: { type: 'string' }, required: true } }, v, at);
    case 'union':
      return union(type.types, v, at);
    case 'json':
      if (v === null || typeof v !== 'object') return wrong();
      break;
    default:
      return wrong();
  }
  if (type.allowedValues && !type.allowedValues.includes(v)) {
    mistakes.push(`${at}: ${JSON.stringify(v)} is none of ${type.allowedValues.join(', ')}`);
  }
}

// union takes v if one of the types does, and otherwise notes what speaks
// against the one that it comes closest to.
function union(types, v, at) {
  let least;
  for (const t of types) {
    const before = mistakes.length;
    value(t, v, at);
    const found = mistakes.splice(before);
    if (found.length === 0) return;
    if (!least || found.length < least.length) least = found;
  }
  mistakes.push(...least);
}

// references looks at what the template refers to inside itself.
function references(node, template, at) {
  if (!node || typeof node !== 'object') return;
  if (isIntrinsic(node)) {
    const [[kind, to]] = Object.entries(node);
    if (kind === 'Ref' && !to.startsWith('AWS::') && !template.Resources[to] && !template.Parameters?.[to]) {
      mistakes.push(`${at}: refers to ${to}, which is not there`);
    }
    if (kind === 'Fn::GetAtt') {
      const [id, attribute] = to;
      const type = template.Resources[id]?.Type;
      if (!type) mistakes.push(`${at}: refers to ${id}, which is not there`);
      else if (!resource(type)?.attributes[attribute]) mistakes.push(`${at}: ${type} has no attribute ${attribute}`);
    }
  }
  for (const child of Object.values(node)) references(child, template, at);
}

const resource = (type) => db.lookup('resource', 'cloudFormationType', 'equals', type)[0];

for (const file of readdirSync(process.argv[2]).filter((f) => f.endsWith('.template.json'))) {
  const template = JSON.parse(readFileSync(join(process.argv[2], file)));
  for (const [id, r] of Object.entries(template.Resources)) {
    const at = `${file}: ${id} (${r.Type})`;
    const known = resource(r.Type);
    if (!known) mistakes.push(`${at}: there is no such type`);
    else properties(known.properties, r.Properties ?? {}, at);
    references(r, template, at);
    for (const d of [r.DependsOn ?? []].flat()) if (!template.Resources[d]) mistakes.push(`${at}: depends on ${d}, which is not there`);
  }
}
console.log(mistakes.join('\n'));
console.log(`properties looked at: ${looked}`);
process.exit(mistakes.length ? 1 : 0);
