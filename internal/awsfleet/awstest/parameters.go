package awstest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// parameters are SSM's parameters and Secrets Manager's secrets: what of their
// protocol (JSON 1.1, the operation in X-Amz-Target) we use. It is safe for
// concurrent use.
type parameters struct {
	mu      sync.Mutex
	values  map[string]parameter
	secrets map[string]string
}

type parameter struct {
	Name  string
	Type  string
	Value string
}

func newParameters() *parameters {
	return &parameters{values: map[string]parameter{}, secrets: map[string]string{}}
}

func answer(w http.ResponseWriter, doc any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(doc)
}

// serveSSM is GetParameter, GetParametersByPath and PutParameter.
func (p *parameters) serveSSM(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var in struct {
		Name, Type, Value, Path, NextToken string
		Recursive, WithDecryption          bool
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, "ssm", http.StatusBadRequest, "SerializationException", err.Error())
		return
	}
	shown := func(v parameter) parameter {
		if v.Type == "SecureString" && !in.WithDecryption {
			v.Value = "AQICAH-encrypted"
		}
		return v
	}
	switch r.Header.Get("X-Amz-Target") {
	case "AmazonSSM.GetParameter":
		v, ok := p.values[in.Name]
		if !ok {
			refuse(w, "ssm", http.StatusBadRequest, "ParameterNotFound", "")
			return
		}
		answer(w, map[string]any{"Parameter": shown(v)})
	case "AmazonSSM.PutParameter":
		p.values[in.Name] = parameter{in.Name, in.Type, in.Value}
		answer(w, map[string]any{"Version": 1})
	case "AmazonSSM.GetParametersByPath":
		// Pages of ten, as SSM gives them.
		var found []parameter
		next := ""
		for _, name := range slices.Sorted(maps.Keys(p.values)) {
			rest, ok := strings.CutPrefix(name, strings.TrimSuffix(in.Path, "/")+"/")
			if !ok || !in.Recursive && strings.Contains(rest, "/") || name <= in.NextToken {
				continue
			}
			if len(found) == 10 {
				next = found[9].Name
				break
			}
			found = append(found, shown(p.values[name]))
		}
		answer(w, map[string]any{"Parameters": found, "NextToken": next})
	default:
		refuse(w, "ssm", http.StatusBadRequest, "UnknownOperationException", r.Header.Get("X-Amz-Target"))
	}
}

// serveSecrets is GetSecretValue and CreateSecret.
func (p *parameters) serveSecrets(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var in struct{ SecretId, Name, SecretString string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, "secretsmanager", http.StatusBadRequest, "SerializationException", err.Error())
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case "secretsmanager.GetSecretValue":
		v, ok := p.secrets[in.SecretId]
		if !ok {
			refuse(w, "secretsmanager", http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
			return
		}
		answer(w, map[string]any{"Name": in.SecretId, "SecretString": v})
	case "secretsmanager.CreateSecret":
		p.secrets[in.Name] = in.SecretString
		answer(w, map[string]any{"Name": in.Name})
	default:
		refuse(w, "secretsmanager", http.StatusBadRequest, "UnknownOperationException", r.Header.Get("X-Amz-Target"))
	}
}
