{{/* What the schema cannot say, because it concerns several values. */}}

{{- define "route.rules" -}}
{{- include "route.oneRouter" . }}
{{- include "route.oneRecord" . }}
{{- include "route.securityRules" . }}
{{- include "route.engineRules" . }}
{{- if eq .Values.mode "embedded" }}
{{- if gt (int .Values.gateway.replicas) 1 }}
{{- fail (printf "gateway.replicas is %d, but mode is embedded: that pod is the node too, and there is one node. Use mode: separate for several gateways." (int .Values.gateway.replicas)) }}
{{- end }}
{{- if .Values.gateway.autoscaling.enabled }}
{{- fail "gateway.autoscaling.enabled is true, but mode is embedded: that pod is the node too, and there is one node. Use mode: separate." }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.upstreams (ne .Values.mode "gateways") }}
{{- fail (printf "gateway.upstreams is set, but mode is %s, which has a node of its own. Use mode: gateways, or leave gateway.upstreams empty." .Values.mode) }}
{{- end }}
{{- if and (eq .Values.mode "gateways") (not .Values.gateway.upstreams) }}
{{- fail "mode is gateways, so there is no node here: say in gateway.upstreams where it is." }}
{{- end }}
{{- with .Values.gateway.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "gateway.autoscaling.minReplicas (%d) is more than gateway.autoscaling.maxReplicas (%d)." (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.dialect.name .Values.gateway.dialect.definition }}
{{- fail (printf "gateway.dialect.name is %s, and gateway.dialect.definition is set, too. A gateway speaks one dialect: say one of them." .Values.gateway.dialect.name) }}
{{- end }}
{{- if and .Values.gateway.service.loadBalancerSourceRanges (ne .Values.gateway.service.type "LoadBalancer") }}
{{- fail "gateway.service.loadBalancerSourceRanges needs gateway.service.type: LoadBalancer." }}
{{- end }}
{{- if and .Values.gateway.service.nodePort (eq .Values.gateway.service.type "ClusterIP") }}
{{- fail "gateway.service.nodePort needs gateway.service.type: NodePort or LoadBalancer." }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled are both true: everything would be scraped twice. Leave one of them out." }}
{{- end }}
{{- $ours := dict "securityContext" "pods.securityContext" "serviceAccountName" "pods.serviceAccount.name" "terminationGracePeriodSeconds" "pods.terminationGracePeriodSeconds" "imagePullSecrets" "image.pullSecrets" "topologySpreadConstraints" "gateway.topologySpread" }}
{{- range $component, $of := dict "node" .Values.node "gateway" .Values.gateway }}
{{- $fields := dict "containers" "extraContainers" "volumes" "extraVolumes" "nodeSelector" "nodeSelector" "tolerations" "tolerations" "affinity" "affinity" "priorityClassName" "priorityClassName" }}
{{- range $field, $_ := $of.podSpec }}
{{- with index $fields $field }}
{{- fail (printf "%s.podSpec has %s: say that by %s.%s." $component $field $component .) }}
{{- end }}
{{- with index $ours $field }}
{{- fail (printf "%s.podSpec has %s: say that by %s." $component $field .) }}
{{- end }}
{{- if has $field (list "automountServiceAccountToken" "enableServiceLinks" "restartPolicy") }}
{{- fail (printf "%s.podSpec has %s, which the chart sets itself." $component $field) }}
{{- end }}
{{- end }}
{{- end }}
{{- $taken := dict (toString (int .Values.gateway.service.port)) "gateway.service.port" "8200" "MsgServers without a port of their own" "9464" "probes" "50051" "gRPC" }}
{{- $hosts := dict }}
{{- range .Values.gateway.msgServers }}
{{- if .port }}
{{- $port := int .port }}
{{- with index $taken (toString $port) }}
{{- fail (printf "gateway.msgServers has port %d, which is for %s." $port .) }}
{{- end }}
{{- $_ := set $taken (toString $port) .name }}
{{- end }}
{{- if and .nodePort (or (not .port) (eq $.Values.gateway.service.type "ClusterIP")) }}
{{- fail (printf "gateway.msgServers: the nodePort of %s needs a port, and gateway.service.type: NodePort or LoadBalancer." .name) }}
{{- end }}
{{- $name := .name }}
{{- range .hosts }}
{{- if ne (default $name (index $hosts .)) $name }}
{{- fail (printf "gateway.msgServers: host %s is %s and %s. Several MsgServers on one host are told apart by ports of their own." . (index $hosts .) $name) }}
{{- end }}
{{- $_ := set $hosts . $name }}
{{- end }}
{{- end }}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "node.podLabels" .Values.node.podLabels "gateway.podLabels" .Values.gateway.podLabels }}
{{- range $label, $_ := $labels }}
{{- if has $label (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart") }}
{{- fail (printf "%s has %s, which the chart sets itself: Services and policies find their pods by it." $where $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- $longest := 0 }}
{{- range list (index .Values.node.flags "shutdown-deadline") (index .Values.gateway.flags "shutdown-deadline") }}
{{- $longest = max $longest (include "route.seconds" (default "25s" .) | int) }}
{{- end }}
{{- $needed := add .Values.pods.preStopSeconds $longest 15 }}
{{- if lt (int .Values.pods.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "pods.terminationGracePeriodSeconds is %d, but must be at least %d: pods.preStopSeconds (%d), the longer of node.flags.shutdown-deadline and gateway.flags.shutdown-deadline (%d), and 15 to spare. Else pods are killed while they drain." (int .Values.pods.terminationGracePeriodSeconds) (int $needed) (int .Values.pods.preStopSeconds) (int $longest)) }}
{{- end }}
{{- end }}

{{/* Whole seconds of a time as flags have it, rounded up: 1500ms, 25s, 2m. */}}
{{- define "route.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- if hasSuffix "ms" . -}}{{ div (add $number 999) 1000 }}
{{- else if hasSuffix "s" . -}}{{ $number }}
{{- else if hasSuffix "m" . -}}{{ mul $number 60 }}
{{- else -}}{{ mul $number 3600 }}
{{- end -}}
{{- end }}

{{/* Nothing is open to everybody unless somebody says so, and who is let in can show who he is. */}}
{{- define "route.securityRules" -}}
{{- $mode := .Values.mode }}
{{- with .Values.security }}
{{- $policy := or .policy .existingPolicy.name }}
{{- if and .policy .existingPolicy.name }}
{{- fail (printf "security.policy is set, and security.existingPolicy.name is %s. There is one policy: say one of them." .existingPolicy.name) }}
{{- end }}
{{- if and .tls.enabled (regexMatch "(?m)^\\s*allow\\s*=" .policy) }}
{{- fail "security.policy has allow = [], and the chart adds an entry for the gateways: leave that line out." }}
{{- end }}
{{- if eq $mode "gateways" }}
{{- if or .insecure $policy .tokens.keys.name }}
{{- fail "security.insecure, security.policy, security.existingPolicy and security.tokens.keys are for a node, and mode is gateways: the node elsewhere has its own." }}
{{- end }}
{{- else if and .insecure (or $policy .tokens.keys.name .tokens.gateways) }}
{{- fail "security.insecure lets everybody in, and there is a policy, or tokens, too. Leave one of them out." }}
{{- else if not (or .insecure $policy .tls.enabled) }}
{{- fail "nothing says who may do what at gRPC. Give a policy (security.policy or security.existingPolicy, docs/policy.md) and security.tls, or let everybody in who can reach it by security.insecure=true." }}
{{- end }}
{{- if and $policy (eq $mode "separate") (not .tls.enabled) }}
{{- fail "there is a policy, and security.tls.enabled is false: gateways could not show who they are, and none would be let in." }}
{{- end }}
{{- if and (or .tokens.keys.name .tokens.gateways) (not .tls.enabled) }}
{{- fail "security.tokens needs security.tls.enabled: everybody on the way could read them." }}
{{- end }}
{{- if and .tokens.gateways (ne $mode "gateways") (not .tokens.keys.name) }}
{{- fail "security.tokens.gateways is true, but no node could read what they show: say in security.tokens.keys where the public keys are." }}
{{- end }}
{{- if .tls.enabled }}
{{- if and (ne $mode "gateways") (not (or .tls.node.existingSecret .tls.issuerRef.name)) }}
{{- fail "security.tls.enabled is true, but the node has no certificate: say security.tls.node.existingSecret or security.tls.issuerRef.name." }}
{{- end }}
{{- if and (include "route.clientHasCertificate" $) (not (or .tls.gateway.existingSecret .tls.issuerRef.name)) }}
{{- fail "security.tls.enabled is true, but gateways, or helm test, have nothing to show: say security.tls.gateway.existingSecret, security.tls.issuerRef.name, or security.tokens.gateways." }}
{{- end }}
{{- if and (eq $mode "gateways") .tokens.gateways (not .tls.bundle.name) }}
{{- fail "security.tokens.gateways is true and mode is gateways: say in security.tls.bundle whom gateways trust." }}
{{- end }}
{{- end }}
{{- if and .insecure (eq (index $.Values.node.flags "policy-mode" | default "enforce") "audit") }}
{{- fail "node.flags.policy-mode is audit, but security.insecure lets everybody in: there is no policy to try." }}
{{- end }}
{{- end }}
{{- range append .Values.gateway.upstreams .Values.gateway.nodeApi }}
{{- if and . (not (hasPrefix (printf "%s://" (include "route.scheme" $)) .)) }}
{{- fail (printf "%s does not go with security.tls.enabled=%v: with TLS it begins with https://, without with http://." . $.Values.security.tls.enabled) }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.nodeApi (ne $mode "gateways") }}
{{- fail (printf "gateway.nodeApi is set, but mode is %s, which has a node of its own." $mode) }}
{{- end }}
{{- end }}
