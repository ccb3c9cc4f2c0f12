# SPDX-License-Identifier: Apache-2.0
# Unit tests, the model, the fuzzers and the replay of their corpora. Names in ctest: unit.NAME,
# model.NAME, fuzz-replay.NAME; labels: unit, model, fuzz-replay.
enable_testing()

# emberlock_test(TARGET TEST LABEL ARGUMENT...): runs the executable TARGET as TEST.
function(emberlock_test target test label)
	add_test(NAME ${test} COMMAND ${target} ${ARGN})
	set_tests_properties(${test} PROPERTIES LABELS ${label} TIMEOUT 300 SKIP_RETURN_CODE 77)
endfunction()

if(EMBERLOCK_TESTS)
	pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

	# test_LIBRARY_WHAT.c is linked to src/LIBRARY and nothing beside it.
	file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/test_*.c)
	foreach(source ${sources})
		get_filename_component(target ${source} NAME_WE)
		string(REGEX REPLACE "^test_([a-z]+)_.*$" "\\1" library ${target})
		string(REGEX REPLACE "^test_" "unit." test ${target})
		add_executable(${target} ${source})
		target_link_libraries(${target} PRIVATE ${library} PkgConfig::CMOCKA)
		target_compile_definitions(${target} PRIVATE EMBERLOCK_SOURCE="${CMAKE_SOURCE_DIR}")
		emberlock_test(${target} ${test} unit)
	endforeach()

	# agent_*.c are linked to the files of the agent that they are about, and stub the others.
	add_executable(test_agent_restart ${CMAKE_SOURCE_DIR}/tests/unit/agent_restart.c
		${CMAKE_SOURCE_DIR}/agent/agent_plan.c ${CMAKE_SOURCE_DIR}/agent/agent_volumes.c
		${CMAKE_SOURCE_DIR}/agent/agent_text.c ${CMAKE_SOURCE_DIR}/agent/agent_change.c
		${CMAKE_SOURCE_DIR}/agent/agent_look.c ${CMAKE_SOURCE_DIR}/agent/agent_worker.c
		${CMAKE_SOURCE_DIR}/agent/agent_bind.c)
	target_include_directories(test_agent_restart PRIVATE ${CMAKE_SOURCE_DIR}/agent)
	target_link_libraries(test_agent_restart PRIVATE core PkgConfig::SYSTEMD PkgConfig::CMOCKA)
	emberlock_test(test_agent_restart unit.agent_restart unit)
	add_executable(test_agent_shred ${CMAKE_SOURCE_DIR}/tests/unit/agent_shred.c
		${CMAKE_SOURCE_DIR}/agent/agent_lease.c)
	target_include_directories(test_agent_shred PRIVATE ${CMAKE_SOURCE_DIR}/agent)
	target_link_libraries(test_agent_shred PRIVATE core PkgConfig::SYSTEMD PkgConfig::CMOCKA)
	emberlock_test(test_agent_shred unit.agent_shred unit)
	add_executable(test_agent_token ${CMAKE_SOURCE_DIR}/tests/unit/agent_token.c
		${CMAKE_SOURCE_DIR}/agent/agent_token.c)
	target_include_directories(test_agent_token PRIVATE ${CMAKE_SOURCE_DIR}/agent)
	target_link_libraries(test_agent_token PRIVATE keys PkgConfig::SYSTEMD PkgConfig::CMOCKA)
	emberlock_test(test_agent_token unit.agent_token unit)

	# NAME.sh runs the program NAME without keeper and disks; ctl_agent.c is an agent for it.
	add_executable(ctl_agent ${CMAKE_SOURCE_DIR}/tests/unit/ctl_agent.c)
	target_link_libraries(ctl_agent PRIVATE core)
	foreach(program ctl generator)
		add_test(NAME unit.${program}
			COMMAND ${CMAKE_SOURCE_DIR}/tests/unit/${program}.sh $<TARGET_FILE:emberlock-${program}>
			$<TARGET_FILE:ctl_agent>)
		set_tests_properties(unit.${program} PROPERTIES LABELS unit TIMEOUT 300)
	endforeach()
	add_test(NAME unit.units COMMAND ${CMAKE_SOURCE_DIR}/tests/unit/units.sh)
	set_tests_properties(unit.units PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77)

	# The storage node of the suite manager.
	add_executable(storage_node ${CMAKE_SOURCE_DIR}/tests/manager/storage_node.c)
	target_link_libraries(storage_node PRIVATE storage)

	# And its VMs.
	add_executable(fleet_vms ${CMAKE_SOURCE_DIR}/tests/manager/fleet_vms.c)
	target_link_libraries(fleet_vms PRIVATE manager)

	# X_walk.c steps the machine X everywhere, X_invariants.c says what must hold.
	add_executable(lease_walk ${CMAKE_SOURCE_DIR}/tests/model/lease_walk.c
		${CMAKE_SOURCE_DIR}/tests/model/lease_invariants.c)
	target_link_libraries(lease_walk PRIVATE core)
	emberlock_test(lease_walk model.lease_walk model)
	# Both halves of the lease together: the VM's machine and the manager's engine.
	add_executable(fence_walk ${CMAKE_SOURCE_DIR}/tests/model/fence_walk.c)
	target_link_libraries(fence_walk PRIVATE manager)
	emberlock_test(fence_walk model.fence_walk model)
endif()

# The parsers under the fuzzers need its instrumentation; the programs linked to them do not mind.
if(EMBERLOCK_FUZZ)
	foreach(library base core manager)
		target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
		target_link_options(${library} INTERFACE -fsanitize=fuzzer-no-link)
	endforeach()
endif()

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source ${sources})
	get_filename_component(target ${source} NAME_WE)
	string(REGEX REPLACE "^fuzz_" "" name ${target})
	if(name MATCHES "^(audit|dek_blob|event|json|kms)$")
		set(library manager)
	else()
		set(library core)
	endif()
	if(EMBERLOCK_FUZZ)
		add_executable(${target} ${source})
		target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
		target_link_options(${target} PRIVATE -fsanitize=fuzzer)
		target_link_libraries(${target} PRIVATE ${library})
	endif()
	if(EMBERLOCK_TESTS)
		add_executable(${target}_replay ${source} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
		target_link_libraries(${target}_replay PRIVATE ${library})
		emberlock_test(${target}_replay fuzz-replay.${name} fuzz-replay
			${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
	endif()
endforeach()
if(EMBERLOCK_TESTS)
	add_executable(corpus_seeds ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus_seeds.c)
	target_link_libraries(corpus_seeds PRIVATE manager)
endif()
# What the suite classify runs: the table of replies, and lives of VMs under each cloud.
if(EMBERLOCK_TESTS)
	set_tests_properties(unit.manager_withdrawal PROPERTIES LABELS classify)
	add_executable(classify ${CMAKE_SOURCE_DIR}/tests/conformance/classify.c)
	target_link_libraries(classify PRIVATE manager)
endif()
# What the suite audit runs: changes of a log.
if(EMBERLOCK_TESTS)
	add_executable(audit_walk ${CMAKE_SOURCE_DIR}/tests/audit/walk.c)
	target_link_libraries(audit_walk PRIVATE manager)
endif()
# What the suite isolation runs: each identity at every route and id of another.
if(EMBERLOCK_TESTS)
	add_executable(attacks ${CMAKE_SOURCE_DIR}/tests/isolation/attacks.c)
	target_link_libraries(attacks PRIVATE manager PkgConfig::CMOCKA)
	target_compile_definitions(attacks PRIVATE EMBERLOCK_SOURCE="${CMAKE_SOURCE_DIR}")
endif()
